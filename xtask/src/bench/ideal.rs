//! The ideal stream: a hash map from one process into another over loopback, by two plain threads.
//!
//! The sender holds the entries in a map and sends them in batches. The receiver, a second process of this
//! program, copies each entry into a map of its own. Both know count and sum of what they have, the sender
//! before the clock starts, as a node does; the clock stops when the two were found equal. Nothing else
//! happens: no changes meanwhile, no proof of who owns what, no second copy. A transfer can hardly be faster.
//!
//! ```text
//! batch:  length u32 | (key length u32 | value length u32 | key | value) ...
//! end:    length 0, then both sides send count u64 | sum u128        all big-endian
//! ```

use std::env;
use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use hashbrown::HashMap;
use xxhash_rust::xxh3::xxh3_128_with_seed;

/// The command by which this program starts itself as the receiver.
pub const RECEIVER: &str = "ideal-receiver";

/// What is moved.
pub type Entries = HashMap<Vec<u8>, Vec<u8>>;

/// A batch is sent when it has grown to this many bytes, as a node's frames.
const BATCH_BYTES: usize = 1 << 20;

/// A batch that claims to be larger comes from somebody else.
const BATCH_BYTES_MAX: usize = 64 << 20;

/// How long either side waits for the other before it gives up.
const PATIENCE: Duration = Duration::from_secs(60);

/// Why the stream broke.
#[derive(Debug, thiserror::Error)]
pub enum IdealError {
    /// The two processes could not talk.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// The receiver did not come.
    #[error("the receiver did not connect")]
    NoReceiver,
    /// A batch does not consist of entries.
    #[error("a batch of {bytes} bytes does not consist of entries")]
    Garbled {
        /// Bytes of the batch.
        bytes: usize,
    },
    /// Not everything arrived as it was sent.
    #[error("the sender has {sent:?}, the receiver {received:?}")]
    Differs {
        /// What the sender has.
        sent: Proof,
        /// What the receiver has.
        received: Proof,
    },
}

/// Count and sum: equal for equal entries, in whatever order they came.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Proof {
    count: u64,
    sum: u128,
}

impl Proof {
    fn of(entries: &Entries) -> Self {
        let mut proof = Self::default();
        let mut item = Vec::new();
        for (key, value) in entries {
            item.clear();
            item.extend_from_slice(key);
            item.extend_from_slice(value);
            proof.add(&item, key.len());
        }
        proof
    }

    /// Takes in an entry: its key with its value behind it.
    fn add(&mut self, item: &[u8], key_bytes: usize) {
        self.count += 1;
        self.sum = self.sum.wrapping_add(xxh3_128_with_seed(item, key_bytes as u64));
    }

    fn write(self, to: &mut impl Write) -> io::Result<()> {
        to.write_all(&self.count.to_be_bytes())?;
        to.write_all(&self.sum.to_be_bytes())
    }

    fn read(from: &mut impl Read) -> io::Result<Self> {
        let (mut count, mut sum) = ([0; 8], [0; 16]);
        from.read_exact(&mut count)?;
        from.read_exact(&mut sum)?;
        Ok(Self { count: u64::from_be_bytes(count), sum: u128::from_be_bytes(sum) })
    }

    fn expect(self, received: Self) -> Result<(), IdealError> {
        if self == received { Ok(()) } else { Err(IdealError::Differs { sent: self, received }) }
    }
}

/// Sends the entries to a new process. The time from the first byte to the proof that all have arrived.
///
/// # Errors
///
/// [`IdealError`]. The receiver has ended in any case.
pub fn measure(entries: &Entries) -> Result<Duration, IdealError> {
    let proof = Proof::of(entries);
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let address = listener.local_addr()?;
    let receiver = Command::new(env::current_exe()?)
        .args([RECEIVER, &address.to_string()])
        .stdin(Stdio::null())
        .spawn()?;
    let mut receiver = Receiver(receiver);
    let mut stream = receiver.accept(&listener)?;
    prepare(&stream)?;
    let began = Instant::now();
    send(entries, proof, &mut stream)?;
    proof.expect(Proof::read(&mut stream)?)?;
    Ok(began.elapsed())
}

fn prepare(stream: &TcpStream) -> io::Result<()> {
    stream.set_nonblocking(false)?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))
}

fn send(entries: &Entries, proof: Proof, stream: &mut TcpStream) -> Result<(), IdealError> {
    let mut batch = Vec::with_capacity(2 * BATCH_BYTES);
    for (key, value) in entries {
        batch.extend_from_slice(&length(key)?);
        batch.extend_from_slice(&length(value)?);
        batch.extend_from_slice(key);
        batch.extend_from_slice(value);
        if batch.len() >= BATCH_BYTES {
            stream.write_all(&length(&batch)?)?;
            stream.write_all(&batch)?;
            batch.clear();
        }
    }
    if !batch.is_empty() {
        stream.write_all(&length(&batch)?)?;
        stream.write_all(&batch)?;
    }
    stream.write_all(&length(&[])?)?;
    Ok(proof.write(stream)?)
}

fn length(bytes: &[u8]) -> Result<[u8; 4], IdealError> {
    let length = u32::try_from(bytes.len());
    Ok(length.map_err(|_| IdealError::Garbled { bytes: bytes.len() })?.to_be_bytes())
}

/// The other process. It ends with this value.
struct Receiver(Child);

impl Receiver {
    /// Waits for it to connect, as long as it lives.
    fn accept(&mut self, listener: &TcpListener) -> Result<TcpStream, IdealError> {
        listener.set_nonblocking(true)?;
        let began = Instant::now();
        while began.elapsed() < PATIENCE && self.0.try_wait()?.is_none() {
            match listener.accept() {
                Ok((stream, _)) => return Ok(stream),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    thread::sleep(Duration::from_millis(1));
                }
                Err(error) => return Err(error.into()),
            }
        }
        Err(IdealError::NoReceiver)
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        // It may have ended by itself: then there is nothing left to do.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// What the other process does: takes all entries, compares, and tells what it has.
///
/// # Errors
///
/// [`IdealError`]; the sender notices that the connection is gone.
pub fn receive(address: &str) -> Result<(), IdealError> {
    let mut stream = TcpStream::connect(address)?;
    prepare(&stream)?;
    let mut entries = Entries::new();
    let mut received = Proof::default();
    let mut batch = Vec::new();
    loop {
        let mut length = [0; 4];
        stream.read_exact(&mut length)?;
        let length = u32::from_be_bytes(length) as usize;
        if length == 0 {
            break;
        }
        if length > BATCH_BYTES_MAX {
            return Err(IdealError::Garbled { bytes: length });
        }
        batch.resize(length, 0);
        stream.read_exact(&mut batch)?;
        take(&batch, &mut entries, &mut received)?;
    }
    let sent = Proof::read(&mut stream)?;
    received.write(&mut stream)?;
    sent.expect(received)?;
    // The process ends here; to free every entry first would only take time.
    std::mem::forget(entries);
    Ok(())
}

fn take(batch: &[u8], entries: &mut Entries, received: &mut Proof) -> Result<(), IdealError> {
    let garbled = || IdealError::Garbled { bytes: batch.len() };
    let mut rest = batch;
    while !rest.is_empty() {
        let (key_bytes, after) = split_length(rest).ok_or_else(garbled)?;
        let (value_bytes, after) = split_length(after).ok_or_else(garbled)?;
        let (item, after) = after.split_at_checked(key_bytes + value_bytes).ok_or_else(garbled)?;
        let (key, value) = item.split_at_checked(key_bytes).ok_or_else(garbled)?;
        received.add(item, key_bytes);
        entries.insert(key.to_vec(), value.to_vec());
        rest = after;
    }
    Ok(())
}

fn split_length(bytes: &[u8]) -> Option<(usize, &[u8])> {
    let (length, after) = bytes.split_first_chunk::<4>()?;
    Some((u32::from_be_bytes(*length) as usize, after))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(key: &[u8], value: &[u8]) -> (Vec<u8>, Vec<u8>) {
        (key.to_vec(), value.to_vec())
    }

    fn few() -> Entries {
        Entries::from_iter([entry(b"a", b"bc"), entry(b"ab", b"c"), entry(b"x", b"")])
    }

    /// Sends the entries to `receive` in a thread; what the sender was told.
    fn crossing(entries: &Entries, proof: Proof) -> Result<Proof, IdealError> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let receiver = thread::spawn(move || receive(&address));
        let (mut stream, _) = listener.accept().unwrap();
        prepare(&stream).unwrap();
        send(entries, proof, &mut stream).unwrap();
        let told = Proof::read(&mut stream).unwrap();
        receiver.join().unwrap().map(|()| told)
    }

    #[test]
    fn what_was_sent_arrives() {
        let big: Entries =
            (0..2_000_u32).map(|number| (number.to_be_bytes().to_vec(), vec![7; 999])).collect();
        for entries in [Entries::new(), few(), big] {
            let proof = Proof::of(&entries);
            assert_eq!(crossing(&entries, proof).unwrap(), proof);
            assert_eq!(proof.count, entries.len() as u64);
        }
    }

    #[test]
    fn a_difference_is_noticed() {
        let mut other = few();
        other.insert(b"x".to_vec(), b"y".to_vec());
        let error = crossing(&few(), Proof::of(&other)).unwrap_err();
        assert!(matches!(error, IdealError::Differs { .. }), "{error}");
    }

    #[test]
    fn where_a_key_ends_counts() {
        let proof = |key: &[u8], value: &[u8]| Proof::of(&Entries::from_iter([entry(key, value)]));
        assert_ne!(proof(b"a", b"bc"), proof(b"ab", b"c"));
    }

    #[test]
    fn a_batch_that_ends_within_an_entry_is_refused() {
        for batch in [&[0, 0, 0, 1, 0, 0, 0, 1, 9][..], &[0, 0][..], &[255; 8][..]] {
            let taken = take(batch, &mut Entries::new(), &mut Proof::default());
            assert!(matches!(taken, Err(IdealError::Garbled { .. })), "{batch:?}");
        }
    }
}
