//! `[vault]`: the master keys.

use super::ConfigError;
use super::program;
use super::setting::Settings;
use agenstack_vault::{MasterKey, Vault};
use secrecy::SecretString;

const CURRENT: &str = "AGENSTACK_MASTER_KEY";
const PREVIOUS: &str = "AGENSTACK_MASTER_KEY_PREVIOUS";

/// A key as it is, as a file, or as what a program prints.
fn given(settings: &mut Settings, name: &'static str, command: &'static str) -> Option<SecretString> {
    let (secret, line) = (settings.secret(name), settings.text(command));
    match (secret, line) {
        (Some(_), Some(_)) => {
            settings.problem(command, format!("given beside {name}; keep one of the two"));
            None
        }
        (secret, None) => secret,
        (None, Some(line)) => match program::printed(&line) {
            Ok(secret) => Some(secret),
            Err(message) => {
                settings.problem(command, message);
                None
            }
        },
    }
}

/// The master keys as they were given; of the right shape, if given at all.
#[derive(Clone, Debug)]
pub struct Keys {
    /// The key that wraps from now on.
    pub master_key: Option<SecretString>,
    /// The key before it, while a rotation runs.
    pub master_key_previous: Option<SecretString>,
}

impl Keys {
    pub(super) fn read(settings: &mut Settings) -> Self {
        let this = Self {
            master_key: given(settings, CURRENT, "AGENSTACK_MASTER_KEY_COMMAND"),
            master_key_previous: given(settings, PREVIOUS, "AGENSTACK_MASTER_KEY_PREVIOUS_COMMAND"),
        };
        let mut ids = Vec::new();
        for (name, text) in [(CURRENT, &this.master_key), (PREVIOUS, &this.master_key_previous)] {
            match text.as_ref().map(MasterKey::parse) {
                Some(Ok(key)) => ids.push(key.id().to_owned()),
                Some(Err(error)) => {
                    // By whichever way it came.
                    let printed = settings.secret(name).is_none();
                    let way = if printed { format!("{name}_COMMAND") } else { name.to_owned() };
                    settings.problem(&way, error.to_string());
                }
                None => {}
            }
        }
        if let [current, previous] = &ids[..]
            && current == previous
        {
            settings
                .problem(PREVIOUS, format!("is the same key as {CURRENT}; a rotation needs a new one there"));
        }
        if this.master_key.is_none() && this.master_key_previous.is_some() {
            settings.problem(PREVIOUS, format!("is set without {CURRENT}; rename it if it is the only key"));
        }
        this
    }

    /// The vault. An error without a master key: there is no mode without encryption.
    pub fn vault(&self) -> Result<Vault, ConfigError> {
        let parse = |name: &str, text: &SecretString| {
            MasterKey::parse(text).map_err(|error| ConfigError::one(name, None, error.to_string()))
        };
        let current = self.master_key.as_ref().ok_or_else(|| {
            let message = "not set, and nothing is stored unencrypted; make a key with `agenstack keys generate`, keep \
                           a copy in a safe place, and give it here, or as AGENSTACK_MASTER_KEY_FILE or \
                           AGENSTACK_MASTER_KEY_COMMAND";
            ConfigError::one(CURRENT, None, message)
        })?;
        let previous = self.master_key_previous.as_ref().map(|text| parse(PREVIOUS, text)).transpose()?;
        Ok(Vault::new(parse(CURRENT, current)?, previous))
    }
}
