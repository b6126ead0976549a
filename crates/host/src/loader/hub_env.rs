//! What the environment says of the hub, read as the hub's ordinary client reads it.

use std::path::{Path, PathBuf};

/// Where the hub is, and what of it is here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct HubEnv {
    /// Folder of the cache: `HF_HUB_CACHE`, else `hub` in `HF_HOME`, else in `huggingface` of the user's cache.
    pub(super) cache: PathBuf,
    /// `HF_ENDPOINT`, where it is set.
    pub(super) endpoint: Option<String>,
    /// `HF_TOKEN`, else that of the hub's own login.
    pub(super) token: Option<String>,
    /// The variable that says not to ask the hub.
    pub(super) offline: Option<&'static str>,
}

impl HubEnv {
    pub(super) fn read() -> Self {
        Self::of(&|name| std::env::var(name).ok(), std::env::home_dir().as_deref())
    }

    fn of(variable: &dyn Fn(&str) -> Option<String>, user: Option<&Path>) -> Self {
        let set = |name: &str| variable(name).filter(|value| !value.is_empty());
        let folder = |name: &str| set(name).map(|value| in_home(&value, user));
        let users_cache = || user.map_or_else(std::env::temp_dir, Path::to_path_buf).join(".cache");
        let home = folder("HF_HOME")
            .unwrap_or_else(|| folder("XDG_CACHE_HOME").unwrap_or_else(users_cache).join("huggingface"));
        let login = folder("HF_TOKEN_PATH").unwrap_or_else(|| home.join("token"));
        let of_login = || std::fs::read_to_string(login).ok();
        let token = set("HF_TOKEN").or_else(|| set("HUGGING_FACE_HUB_TOKEN")).or_else(of_login);
        Self {
            cache: folder("HF_HUB_CACHE")
                .or_else(|| folder("HUGGINGFACE_HUB_CACHE"))
                .unwrap_or_else(|| home.join("hub")),
            endpoint: set("HF_ENDPOINT").map(|endpoint| endpoint.trim_end_matches('/').to_owned()),
            token: token.map(|token| token.trim().to_owned()).filter(|token| !token.is_empty()),
            offline: ["HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE"]
                .into_iter()
                .find(|name| set(name).is_some())
                .filter(|name| set(name).is_some_and(|value| is_true(&value))),
        }
    }
}

/// Where the hub's ordinary client keeps models.
pub(crate) fn hub_dir() -> PathBuf {
    HubEnv::read().cache
}

/// `~` is the user's home, as a shell leaves it in quotes and in files of settings.
fn in_home(value: &str, user: Option<&Path>) -> PathBuf {
    match (value.strip_prefix('~'), user) {
        (Some(""), Some(user)) => user.to_owned(),
        (Some(rest), Some(user)) if rest.starts_with('/') => user.join(rest.trim_start_matches('/')),
        _ => value.into(),
    }
}

fn is_true(value: &str) -> bool {
    ["1", "ON", "YES", "TRUE"].iter().any(|yes| yes.eq_ignore_ascii_case(value))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(set: &[(&str, &str)]) -> HubEnv {
        let variable = |name: &str| set.iter().find(|(one, _)| *one == name).map(|(_, value)| (*value).to_owned());
        HubEnv::of(&variable, Some(Path::new("/users/me")))
    }

    #[test]
    fn the_cache_is_where_the_ordinary_client_has_it() {
        for (set, cache) in [
            (&[][..], "/users/me/.cache/huggingface/hub"),
            (&[("XDG_CACHE_HOME", "/x")], "/x/huggingface/hub"),
            (&[("HF_HOME", "~/hf"), ("XDG_CACHE_HOME", "/x")], "/users/me/hf/hub"),
            (&[("HUGGINGFACE_HUB_CACHE", "/old"), ("HF_HOME", "/hf")], "/old"),
            (&[("HF_HUB_CACHE", "/c"), ("HUGGINGFACE_HUB_CACHE", "/old"), ("HF_HOME", "/hf")], "/c"),
            (&[("HF_HUB_CACHE", ""), ("HF_HOME", "")], "/users/me/.cache/huggingface/hub"),
        ] {
            assert_eq!(of(set).cache, Path::new(cache), "{set:?}");
        }
    }

    #[test]
    fn words_for_true_keep_the_hub_unasked() {
        for (set, offline) in [
            (&[("HF_HUB_OFFLINE", "1")][..], Some("HF_HUB_OFFLINE")),
            (&[("HF_HUB_OFFLINE", "true")], Some("HF_HUB_OFFLINE")),
            (&[("TRANSFORMERS_OFFLINE", "yes")], Some("TRANSFORMERS_OFFLINE")),
            (&[("HF_HUB_OFFLINE", "0"), ("TRANSFORMERS_OFFLINE", "1")], None),
            (&[("HF_HUB_OFFLINE", "")], None),
            (&[], None),
        ] {
            assert_eq!(of(set).offline, offline, "{set:?}");
        }
    }

    #[test]
    fn the_token_is_that_of_the_environment_or_of_the_login() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().to_str().unwrap();
        std::fs::write(home.path().join("token"), "hf_login\n").unwrap();
        std::fs::write(home.path().join("other"), "hf_other").unwrap();
        let other = format!("{path}/other");
        let token = |set: &[(&str, &str)]| of(&[&[("HF_HOME", path)], set].concat()).token;
        assert_eq!(token(&[]).as_deref(), Some("hf_login"));
        assert_eq!(token(&[("HF_HUB_CACHE", "/elsewhere")]).as_deref(), Some("hf_login"));
        assert_eq!(token(&[("HF_TOKEN_PATH", &other)]).as_deref(), Some("hf_other"));
        assert_eq!(token(&[("HF_TOKEN", " hf_mine\r\n")]).as_deref(), Some("hf_mine"));
        assert_eq!(of(&[("HF_HOME", "/absent")]).token, None);
        assert_eq!(of(&[("HF_ENDPOINT", "https://mirror/")]).endpoint.as_deref(), Some("https://mirror"));
    }
}
