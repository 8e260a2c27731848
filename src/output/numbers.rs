//! Shares, durations, sizes and rates as people read them. All in whole numbers, for every `u64`.

/// Units of a duration, with their milliseconds. Smaller ones are not measured.
const DURATION_UNITS: [(&str, u64); 5] =
    [("d", 86_400_000), ("hr", 3_600_000), ("min", 60_000), ("s", 1_000), ("ms", 1)];

/// Units of a size, with their bytes.
const SIZE_UNITS: [(&str, u64); 6] =
    [("PB", 1 << 50), ("TB", 1 << 40), ("GB", 1 << 30), ("MB", 1 << 20), ("KB", 1 << 10), ("B", 1)];

/// What is printed for a number nobody knows yet.
pub const UNKNOWN: &str = "unknown";

/// `part` of `whole` in per cent, five columns wide with one decimal, halves rounded up. Nothing of
/// nothing is 0.
#[must_use]
pub fn percent(part: u32, whole: u32) -> String {
    let tenths = rounded(u128::from(part) * 1_000, u128::from(whole));
    format!("{:>3}.{}", tenths / 10, tenths % 10)
}

/// A duration in the largest unit that it fills, with two decimals: `12.31 s`.
#[must_use]
pub fn duration(millis: u64) -> String {
    in_units(millis, &DURATION_UNITS)
}

/// A size in the largest unit that it fills, with two decimals: `13.67 KB`. Steps of 1,024.
#[must_use]
pub fn size(bytes: u64) -> String {
    in_units(bytes, &SIZE_UNITS)
}

/// How many a second; `None` while no time has passed.
#[must_use]
pub fn per_second(count: u64, millis: u64) -> Option<u64> {
    let rate = (u128::from(count) * 1_000).checked_div(u128::from(millis))?;
    Some(u64::try_from(rate).unwrap_or(u64::MAX))
}

/// Milliseconds until all of `total` is sent if it goes on as before; `None` while that cannot be said.
#[must_use]
pub fn time_left(sent: u64, total: u64, running_ms: u64) -> Option<u64> {
    let left = u128::from(total.saturating_sub(sent)) * u128::from(running_ms);
    Some(u64::try_from(left.checked_div(u128::from(sent))?).unwrap_or(u64::MAX))
}

/// `part` of `whole` in whole per cent, cut off, at most 100; `None` when the whole is not known.
#[must_use]
pub fn progress(part: u64, whole: u64) -> Option<u8> {
    let done = (u128::from(part) * 100).checked_div(u128::from(whole))?;
    Some(u8::try_from(done.min(100)).unwrap_or(100))
}

/// `1 object`, `2 objects`.
#[must_use]
pub fn counted(count: u64, noun: &str) -> String {
    let plural = if count == 1 { "" } else { "s" };
    format!("{count} {noun}{plural}")
}

fn in_units(value: u64, units: &[(&str, u64)]) -> String {
    let fills = |(_, factor): &&(&str, u64)| value >= *factor;
    // The last unit is 1, so only 0 fills none.
    let (unit, factor) = units.iter().find(fills).or(units.last()).copied().unwrap_or(("", 1));
    let hundredths = rounded(u128::from(value) * 100, u128::from(factor));
    format!("{}.{:02} {unit}", hundredths / 100, hundredths % 100)
}

/// Halves are rounded up. Divided by nothing is 0.
fn rounded(number: u128, by: u128) -> u128 {
    (number * 2 + by).checked_div(by * 2).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn shares_are_the_tutorials() {
        assert_eq!(percent(64, 64), "100.0");
        assert_eq!(percent(22, 64), " 34.4");
        assert_eq!(percent(21, 64), " 32.8");
        assert_eq!(percent(0, 64), "  0.0");
        assert_eq!(percent(0, 0), "  0.0");
        assert_eq!(percent(1, 3), " 33.3");
        assert_eq!(percent(2, 3), " 66.7");
        // 6.25 % and 18.75 %: exact halves go up.
        assert_eq!(percent(1, 16), "  6.3");
        assert_eq!(percent(3, 16), " 18.8");
        assert_eq!(percent(65_535, 65_536), "100.0");
        assert_eq!(percent(u32::MAX, u32::MAX), "100.0");
    }

    #[test]
    fn sizes_have_two_decimals_and_steps_of_1024() {
        assert_eq!(size(0), "0.00 B");
        assert_eq!(size(575), "575.00 B");
        assert_eq!(size(1_024), "1.00 KB");
        assert_eq!(size(13_998), "13.67 KB");
        assert_eq!(size(1 << 40), "1.00 TB");
        assert_eq!(size(u64::MAX), "16384.00 PB");
    }

    #[test]
    fn durations_have_two_decimals() {
        assert_eq!(duration(0), "0.00 ms");
        assert_eq!(duration(812), "812.00 ms");
        assert_eq!(duration(12_310), "12.31 s");
        assert_eq!(duration(60_000), "1.00 min");
        assert_eq!(duration(5_400_000), "1.50 hr");
        assert_eq!(duration(86_400_000), "1.00 d");
        assert_eq!(duration(u64::MAX), "213503982334.60 d");
    }

    #[test]
    fn what_cannot_be_known_is_not_made_up() {
        assert_eq!(per_second(812, 0), None);
        assert_eq!(time_left(0, 4_096, 1_000), None);
        assert_eq!(progress(5, 0), None);
        assert_eq!(time_left(5, 4, 1_000), Some(0));
        assert_eq!(progress(5, 4), Some(100));
        assert_eq!(per_second(u64::MAX, 1), Some(u64::MAX));
    }

    proptest! {
        #[test]
        fn no_number_is_too_large_to_print(
            a in prop_oneof![Just(0), Just(1), Just(u64::MAX), any::<u64>()],
            b in prop_oneof![Just(0), Just(1), Just(u64::MAX), any::<u64>()],
            c in prop_oneof![Just(0), Just(1), Just(u64::MAX), any::<u64>()],
        ) {
            prop_assert!(size(a).ends_with('B'));
            prop_assert!(duration(a).contains('.'));
            prop_assert_eq!(per_second(a, b).is_none(), b == 0);
            prop_assert_eq!(time_left(a, b, c).is_none(), a == 0);
            prop_assert!(progress(a, b).unwrap_or(0) <= 100);
        }

        #[test]
        fn a_share_is_never_off_by_more_than_half_a_tenth(
            part in any::<u32>(), rest in any::<u32>(),
        ) {
            let whole = part.saturating_add(rest).max(1);
            let tenths: u128 = percent(part, whole).trim().replace('.', "").parse().unwrap();
            let exact = u128::from(part) * 1_000;
            prop_assert!(exact.abs_diff(tenths * u128::from(whole)) * 2 <= u128::from(whole));
        }
    }
}
