//! The flags of `tanodb node`, made from the table of settings.

use clap::parser::ValueSource;
use clap::{Arg, ArgAction, ArgMatches, Args, Command, Error, FromArgMatches};

use crate::config::setting::{SETTINGS, Setting};

/// The settings that were given as flags. They are checked with those from elsewhere.
#[derive(Debug, Default)]
pub(super) struct NodeFlags(pub(super) Vec<(&'static Setting, String)>);

impl Args for NodeFlags {
    fn augment_args(command: Command) -> Command {
        command.args(SETTINGS.into_iter().map(flag))
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

impl FromArgMatches for NodeFlags {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, Error> {
        let mut flags = Self::default();
        flags.update_from_arg_matches(matches)?;
        Ok(flags)
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), Error> {
        for setting in SETTINGS {
            if matches.value_source(setting.key) != Some(ValueSource::CommandLine) {
                continue;
            }
            let text = match setting.value_name {
                Some(_) => matches.get_one::<String>(setting.key).cloned(),
                None => Some(matches.get_flag(setting.key).to_string()),
            };
            self.0.extend(text.map(|text| (setting, text)));
        }
        Ok(())
    }
}

fn flag(setting: &'static Setting) -> Arg {
    let flag = Arg::new(setting.key).long(setting.flag()).hide(setting.hidden);
    match (setting.value_name, setting.default) {
        (None, _) => flag.action(ArgAction::SetTrue).help(setting.help),
        (Some(name), None) => flag.value_name(name).help(setting.help),
        (Some(name), Some(default)) => {
            flag.value_name(name).help(format!("{} [default: {default}]", setting.help))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::setting::{INSECURE_OPEN, RING_SIZE};

    #[test]
    fn only_flags_that_were_given_win_over_other_sources() {
        let command = NodeFlags::augment_args(Command::new("node"));
        let matches = command.get_matches_from(["node", "--ring-size", "8", "--insecure-open"]);
        let flags = NodeFlags::from_arg_matches(&matches).unwrap();
        let given = [(&RING_SIZE, "8".to_owned()), (&INSECURE_OPEN, "true".to_owned())];
        assert_eq!(flags.0, given);
    }
}
