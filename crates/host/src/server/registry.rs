//! Who may open a session: tokens that let in once, and keys that let back in.

use tokio::sync::mpsc::UnboundedSender;
use webnibble_common::wire::{ErrorCode, RemoteError};

use super::page::PageEvent;

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
    events: UnboundedSender<PageEvent>,
}

/// A page that was let in.
#[derive(Debug)]
pub(super) struct Admission {
    pub(super) events: UnboundedSender<PageEvent>,
    pub(super) resume_key: String,
    /// Whether it was here before.
    pub(super) resumed: bool,
}

impl Registry {
    /// Opens a door to the session that listens to `events`.
    pub(super) fn open(&mut self, token: String, resume_key: String, events: UnboundedSender<PageEvent>) {
        self.doors.push(Door { token: Some(token), resume_key, events });
    }

    /// Takes the door away that this key opens.
    pub(super) fn close(&mut self, resume_key: &str) {
        self.doors.retain(|door| door.resume_key != resume_key);
    }

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

    /// Tells the session that a page with its token waits at the door, and why it is not let in. There will be no other page:
    /// the token stands in the address of this one.
    pub(super) fn turn_away(&self, token: &str, error: &RemoteError) {
        let door = self.doors.iter().find(|door| door.token.as_deref() == Some(token));
        if let Some(door) = door {
            // The session may be over already.
            let _ = door.events.send(PageEvent::TurnedAway { error: error.clone() });
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
}
