//! Who may open a session: tokens that let in once, and keys that let back in.

use std::sync::{Arc, Weak};

use tokio::sync::mpsc::UnboundedSender;
use webnibble_common::wire::{ErrorCode, RemoteError};

use super::{Shared, lock};
use crate::session::Event;

/// Bytes of randomness in a token or key: not to be guessed.
const SECRET_BYTES: usize = 16;

/// The sessions that pages may enter.
#[derive(Debug, Default)]
pub(crate) struct Registry {
    doors: Vec<Door>,
}

/// The way into one session.
#[derive(Debug)]
struct Door {
    /// Lets a page in, once.
    token: Option<String>,
    /// Lets the same page back in.
    resume_key: String,
    events: UnboundedSender<Event>,
}

/// A page that was let in.
#[derive(Debug)]
pub(super) struct Admission {
    pub(super) events: UnboundedSender<Event>,
    pub(super) resume_key: String,
    /// Whether it was here before.
    pub(super) resumed: bool,
}

/// The right of one page to connect; ends when it is dropped.
#[derive(Debug)]
pub(crate) struct Invitation {
    shared: Weak<Shared>,
    resume_key: String,
    /// Stands in the page's URL.
    pub(crate) token: String,
}

/// Opens a door to the session that listens to `events`.
pub(super) fn invite(shared: &Arc<Shared>, events: UnboundedSender<Event>) -> Invitation {
    let (token, resume_key) = (secret(), secret());
    let door = Door { token: Some(token.clone()), resume_key: resume_key.clone(), events };
    lock(&shared.registry).doors.push(door);
    Invitation { shared: Arc::downgrade(shared), resume_key, token }
}

impl Drop for Invitation {
    fn drop(&mut self) {
        if let Some(shared) = self.shared.upgrade() {
            lock(&shared.registry).doors.retain(|door| door.resume_key != self.resume_key);
        }
    }
}

impl Registry {
    /// Checks what a page shows: the key of an earlier session, or else a token, which is used up.
    pub(super) fn admit(&mut self, token: &str, resume_key: Option<&str>) -> Result<Admission, RemoteError> {
        let door = match resume_key {
            Some(key) => self.doors.iter_mut().find(|door| door.resume_key == key),
            None => self.doors.iter_mut().find(|door| door.token.as_deref() == Some(token)),
        };
        let Some(door) = door else { return Err(refusal(resume_key.is_some())) };
        if resume_key.is_none() {
            door.token = None;
        }
        let (events, resume_key, resumed) = (door.events.clone(), door.resume_key.clone(), resume_key.is_some());
        Ok(Admission { events, resume_key, resumed })
    }
}

impl Registry {
    /// Tells the session that a page with its token waits at the door, and why it is not let in. There will be no other page:
    /// the token stands in the address of this one.
    pub(super) fn turn_away(&self, token: &str, error: &RemoteError) {
        let door = self.doors.iter().find(|door| door.token.as_deref() == Some(token));
        if let Some(door) = door {
            // The session may be over already.
            let _ = door.events.send(Event::TurnedAway { error: error.clone() });
        }
    }
}

fn refusal(resuming: bool) -> RemoteError {
    let message = match resuming {
        true => "expected the resume key of an open session, found another or an ended one",
        false => "expected the one-time token of an open session, found another or a used one",
    };
    RemoteError::new(
        ErrorCode::Unauthorized,
        message,
        "open the URL that the host printed; each lets one page in, once",
    )
}

/// Random hexadecimal digits.
fn secret() -> String {
    let mut bytes = [0; SECRET_BYTES];
    getrandom::fill(&mut bytes).expect("the system has randomness");
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn registry() -> Registry {
        let (events, _) = tokio::sync::mpsc::unbounded_channel();
        let door = Door { token: Some("token".into()), resume_key: "key".into(), events };
        Registry { doors: vec![door] }
    }

    #[test]
    fn a_token_lets_in_once_and_a_key_again_and_again() {
        let mut registry = registry();
        assert!(!registry.admit("token", None).unwrap().resumed);
        assert_eq!(registry.admit("token", None).unwrap_err().code, ErrorCode::Unauthorized);
        for _ in 0..2 {
            assert!(registry.admit("", Some("key")).unwrap().resumed);
        }
    }

    #[test]
    fn wrong_and_empty_secrets_are_refused() {
        let mut registry = registry();
        for (token, key) in [("", None), ("key", None), ("token", Some("token")), ("token", Some(""))] {
            assert_eq!(registry.admit(token, key).unwrap_err().code, ErrorCode::Unauthorized, "{token} {key:?}");
        }
    }

    #[test]
    fn secrets_differ() {
        let (one, other) = (secret(), secret());
        assert_eq!(one.len(), 2 * SECRET_BYTES);
        assert_ne!(one, other);
    }
}
