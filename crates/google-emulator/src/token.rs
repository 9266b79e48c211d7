//! Access tokens: sealed, so that they need no table, survive a restart and cannot be forged.

use std::path::Path;
use std::time::{Duration, SystemTime};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use iam::Principal;
use ring::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use ring::rand::{SecureRandom as _, SystemRandom};
use serde::{Deserialize, Serialize};

use crate::clock;
use crate::state::StoreError;

/// What every access token of Google begins with.
const PREFIX: &str = "ya29.";
/// Nothing that is longer can be one of ours.
const LONGEST: usize = 4096;
const KEY: usize = 32;

/// What an access token says to those who can open it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AccessToken {
    /// Names the token in the list of revoked ones.
    pub id: String,
    /// Whose it is.
    pub principal: Principal,
    /// What it may be used for.
    pub scopes: Vec<String>,
    /// Microseconds since 1970: whoever revokes and asks anew gets a token that is younger.
    pub issued_us: u64,
    /// Seconds since 1970.
    pub expires: u64,
}

/// A token that was just made.
#[derive(Clone, Debug)]
pub struct Minted {
    /// What the client sends.
    pub text: String,
    /// What it says.
    pub token: AccessToken,
}

impl Minted {
    /// When it expires.
    #[must_use]
    pub fn expires(&self) -> SystemTime {
        clock::at(self.token.expires)
    }
}

/// Why a token is not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// It is no token of this cloud, or it was changed on the way.
    #[error("the token was not issued here")]
    Forged,
    /// Its time is over.
    #[error("the token has expired")]
    Expired,
    /// It was taken back.
    #[error("the token was revoked")]
    Revoked,
}

/// Makes and opens access tokens.
pub struct Tokens {
    key: LessSafeKey,
    random: SystemRandom,
}

impl std::fmt::Debug for Tokens {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Tokens")
    }
}

impl Tokens {
    /// Reads the sealing key of a folder, or makes it.
    ///
    /// # Errors
    /// When it can be neither read nor written.
    pub fn open(folder: &Path) -> Result<Self, StoreError> {
        let random = SystemRandom::new();
        let bytes = crate::secret::read_or_make(&folder.join("token.key"), || {
            let mut key = vec![0; KEY];
            random.fill(&mut key).map_err(|_| std::io::Error::other("no random numbers"))?;
            Ok(key)
        })?;
        let path = folder.join("token.key");
        let key = UnboundKey::new(&AES_256_GCM, &bytes);
        let damaged = |_| StoreError::Damaged { path, why: "it is no key of 32 bytes".to_owned() };
        Ok(Self { key: LessSafeKey::new(key.map_err(damaged)?), random })
    }

    /// Makes a token for a principal.
    ///
    /// # Panics
    /// When the system has no random numbers to give.
    #[must_use]
    pub fn mint(
        &self,
        principal: &Principal,
        scopes: &[String],
        now: SystemTime,
        lifetime: Duration,
    ) -> Minted {
        let token = AccessToken {
            id: self.id(),
            principal: principal.clone(),
            scopes: scopes.to_vec(),
            issued_us: clock::microseconds(now),
            expires: clock::seconds(now) + lifetime.as_secs(),
        };
        Minted { text: self.seal(&token), token }
    }

    /// Opens a token. Whether it was revoked is in the state, not here.
    ///
    /// # Errors
    /// When it is not ours or not valid any more.
    pub fn read(&self, text: &str, now: SystemTime) -> Result<AccessToken, Refusal> {
        let token = self.unseal(text).ok_or(Refusal::Forged)?;
        if clock::seconds(now) >= token.expires { Err(Refusal::Expired) } else { Ok(token) }
    }

    fn id(&self) -> String {
        let mut id = [0; 12];
        self.random.fill(&mut id).expect("the system has random numbers");
        URL_SAFE_NO_PAD.encode(id)
    }

    fn seal(&self, token: &AccessToken) -> String {
        let mut nonce = [0; NONCE_LEN];
        self.random.fill(&mut nonce).expect("the system has random numbers");
        let mut sealed = serde_json::to_vec(token).expect("a token is a plain tree");
        let unique = Nonce::assume_unique_for_key(nonce);
        self.key
            .seal_in_place_append_tag(unique, Aad::from(PREFIX), &mut sealed)
            .expect("a token is shorter than the cipher's limit");
        format!("{PREFIX}{}", URL_SAFE_NO_PAD.encode([&nonce[..], &sealed].concat()))
    }

    fn unseal(&self, text: &str) -> Option<AccessToken> {
        let text = text.strip_prefix(PREFIX).filter(|it| it.len() <= LONGEST)?;
        let mut bytes = URL_SAFE_NO_PAD.decode(text).ok()?;
        let (nonce, sealed) = bytes.split_at_mut_checked(NONCE_LEN)?;
        let nonce = Nonce::try_assume_unique_for_key(nonce).ok()?;
        let plain = self.key.open_in_place(nonce, Aad::from(PREFIX), sealed).ok()?;
        serde_json::from_slice(plain).ok()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn tokens() -> (tempfile::TempDir, Tokens) {
        let folder = tempfile::tempdir().unwrap();
        let tokens = Tokens::open(folder.path()).unwrap();
        (folder, tokens)
    }

    fn minted(tokens: &Tokens, now: SystemTime) -> Minted {
        let principal = Principal::service_account("a@p.iam.gserviceaccount.com");
        tokens.mint(&principal, &["scope".to_owned()], now, Duration::from_hours(1))
    }

    #[test]
    fn a_token_is_read_until_it_expires_and_after_a_restart() {
        let (folder, tokens) = tokens();
        let now = clock::at(1_000_000);
        let minted = minted(&tokens, now);
        assert_eq!(tokens.read(&minted.text, now), Ok(minted.token.clone()));
        let again = Tokens::open(folder.path()).unwrap();
        let last = now + Duration::from_secs(3599);
        assert_eq!(again.read(&minted.text, last), Ok(minted.token.clone()));
        assert_eq!(again.read(&minted.text, minted.expires()), Err(Refusal::Expired));
    }

    #[test]
    fn no_part_of_a_token_can_be_changed_or_left_out() {
        let (_folder, tokens) = tokens();
        let now = clock::at(1_000_000);
        let text = minted(&tokens, now).text;
        for length in 0..text.len() {
            assert_eq!(tokens.read(&text[..length], now), Err(Refusal::Forged), "cut at {length}");
            let mut bytes = text.clone().into_bytes();
            bytes[length] = if bytes[length] == b'A' { b'B' } else { b'A' };
            let changed = String::from_utf8(bytes).unwrap();
            assert_eq!(tokens.read(&changed, now), Err(Refusal::Forged), "changed at {length}");
        }
    }

    #[test]
    fn a_token_of_another_cloud_is_forged() {
        let now = clock::at(1_000_000);
        let (_one, ours) = tokens();
        let (_other, theirs) = tokens();
        assert_eq!(ours.read(&minted(&theirs, now).text, now), Err(Refusal::Forged));
    }

    proptest! {
        #[test]
        fn any_text_is_read_without_a_panic(text in "(ya29\\.)?[ -~]{0,200}") {
            let (_folder, tokens) = tokens();
            prop_assert_eq!(tokens.read(&text, clock::at(1)), Err(Refusal::Forged));
        }
    }
}
