//! SASL (RFC 4422) as far as a gateway needs it: which mechanisms can pass, and who logged in.
//!
//! Promises that nothing but a user's name comes out of an exchange: a response that does not have its mechanism's
//! form gives no name at all, since any other part of it may be the password.

use base64::Engine as _;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use memchr::{memchr, memrchr};

use super::Leg;

/// The longest name that is kept, in bytes; the rest of it is cut off.
const LONGEST_NAME: usize = 256;

/// Clients leave the padding away; a name is still worth logging then.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new()
        .with_decode_padding_mode(DecodePaddingMode::Indifferent)
        .with_decode_allow_trailing_bits(true),
);

/// Whether a mechanism may be shown to a client: not those that bind to the TLS channel (`-PLUS`), which ends here.
/// RFC 4422 appendix A.1: with EXTERNAL the backend lets in whom it knows by other means; where those do not tell it of
/// the client, they may tell it of mailward.
#[must_use]
pub fn passes(mechanism: &[u8], leg: Leg) -> bool {
    let plus = mechanism.len() >= 5 && mechanism[mechanism.len() - 5..].eq_ignore_ascii_case(b"-PLUS");
    !plus && (leg == Leg::Certified || !mechanism.eq_ignore_ascii_case(b"EXTERNAL"))
}

/// Whether a client may ask for a mechanism, as far as that is mailward's to say. What is no name of one never goes on:
/// a server that ends words elsewhere could find EXTERNAL at its front.
#[must_use]
pub fn may_be_asked_for(mechanism: &[u8], leg: Leg) -> bool {
    is_mechanism(mechanism) && passes(mechanism, leg)
}

/// RFC 4422 §3.1, in either case.
#[must_use]
pub fn is_mechanism(word: &[u8]) -> bool {
    !word.is_empty() && word.iter().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
}

/// The mechanisms of a list separated by blanks that [`passes`] lets through, as they were written.
pub fn passing(list: &[u8], leg: Leg) -> impl Iterator<Item = &[u8]> {
    let words = list.split(|byte| matches!(byte, b' ' | b'\t'));
    words.filter(move |mechanism| !mechanism.is_empty() && passes(mechanism, leg))
}

/// Whom the client says it is, in an exchange whose lines were `responses`: still in base64, the initial
/// response first.
///
/// `None` where the mechanism is not known to name anybody, or its response does not have the right form.
#[must_use]
pub fn user(mechanism: &[u8], responses: &[Vec<u8>]) -> Option<String> {
    let name = match mechanism.to_ascii_uppercase().as_slice() {
        b"PLAIN" => plain(&decode(responses.first()?)?),
        // RFC 4422 appendix A.1: of EXTERNAL it is whom the client wants to be taken for, and may be empty.
        b"LOGIN" | b"EXTERNAL" => decode(responses.first()?),
        b"XOAUTH2" => xoauth2(&decode(responses.first()?)?),
        b"OAUTHBEARER" => oauthbearer(&decode(responses.first()?)?),
        b"CRAM-MD5" => cram_md5(&decode(responses.last()?)?),
        scram if scram.starts_with(b"SCRAM-") => attribute(&decode(responses.first()?)?, b"n="),
        _ => None,
    };
    bounded_name(&name?)
}

fn decode(response: &[u8]) -> Option<Vec<u8>> {
    BASE64.decode(response.trim_ascii()).ok()
}

/// RFC 4616 §2: `[authzid] NUL authcid NUL passwd`; with one NUL only, the last part may be the password.
fn plain(message: &[u8]) -> Option<Vec<u8>> {
    let mut fields = message.split(|byte| *byte == 0);
    let (_authorization, authentication, _password) = (fields.next()?, fields.next()?, fields.next()?);
    Some(authentication.to_vec())
}

/// `user=NAME ^A auth=Bearer TOKEN ^A ^A`.
fn xoauth2(message: &[u8]) -> Option<Vec<u8>> {
    let name = &message[..memchr(1, message)?];
    name.strip_prefix(b"user=").map(<[u8]>::to_vec)
}

/// RFC 7628 §3.1: a GS2 header before the first ^A; the token stands behind it.
fn oauthbearer(message: &[u8]) -> Option<Vec<u8>> {
    attribute(&message[..memchr(1, message)?], b"a=")
}

/// RFC 2195 §2: the name, a blank, the digest.
fn cram_md5(message: &[u8]) -> Option<Vec<u8>> {
    Some(message[..memrchr(b' ', message)?].to_vec())
}

/// The value of the first attribute `key` (`n=`, `a=`) of a message separated by commas. The first field is
/// the channel binding flag, which can look like an attribute itself.
fn attribute(message: &[u8], key: &[u8]) -> Option<Vec<u8>> {
    message.split(|byte| *byte == b',').skip(1).find_map(|field| field.strip_prefix(key)).map(unescape)
}

/// RFC 5802 §5.1: `=2C` is a comma and `=3D` an equals sign in a name.
fn unescape(name: &[u8]) -> Vec<u8> {
    let mut plain = Vec::with_capacity(name.len());
    let mut rest = name;
    while let Some((&byte, behind)) = rest.split_first() {
        let (byte, behind) = match behind {
            [b'2', b'C', behind @ ..] if byte == b'=' => (b',', behind),
            [b'3', b'D', behind @ ..] if byte == b'=' => (b'=', behind),
            _ => (byte, behind),
        };
        plain.push(byte);
        rest = behind;
    }
    plain
}

/// `name` as text of at most 256 bytes; `None` if there is none.
#[must_use]
pub fn bounded_name(name: &[u8]) -> Option<String> {
    let mut text = String::from_utf8_lossy(&name[..name.len().min(LONGEST_NAME)]).into_owned();
    text.truncate(text.floor_char_boundary(LONGEST_NAME));
    (!text.is_empty()).then_some(text)
}

/// What is remembered of a running exchange, to tell the user when the backend accepts it: the mechanism, and
/// as many responses as can name somebody. A password may be among them, so it cannot be printed.
pub struct Exchange {
    mechanism: Vec<u8>,
    responses: Vec<Vec<u8>>,
}

impl Exchange {
    /// An exchange in which the client has said nothing yet but the mechanism's name.
    #[must_use]
    pub fn new(mechanism: &[u8]) -> Self {
        Self { mechanism: mechanism.to_vec(), responses: Vec::new() }
    }

    /// Takes note of a response, still in base64. Only the first and the last are kept.
    pub fn respond(&mut self, response: &[u8]) {
        self.responses.truncate(1);
        self.responses.push(response.to_vec());
    }

    /// Whether its mechanism lets in whoever comes (RFC 4505).
    #[must_use]
    pub fn is_anonymous(&self) -> bool {
        self.mechanism.eq_ignore_ascii_case(b"ANONYMOUS")
    }

    /// Whom the client says it is: see [`user`].
    #[must_use]
    pub fn user(&self) -> Option<String> {
        user(&self.mechanism, &self.responses)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(mechanism: &str, responses: &[&[u8]]) -> Option<String> {
        let responses: Vec<Vec<u8>> = responses.iter().map(|plain| BASE64.encode(plain).into_bytes()).collect();
        user(mechanism.as_bytes(), &responses)
    }

    #[test]
    fn channel_binding_does_not_pass() {
        for leg in [Leg::Plaintext, Leg::Tls, Leg::Certified] {
            assert!(!passes(b"SCRAM-SHA-256-PLUS", leg));
            assert!(!passes(b"scram-sha-1-plus", leg));
            assert!(passes(b"SCRAM-SHA-256", leg));
            assert!(passes(b"PLUS", leg));
        }
    }

    #[test]
    fn external_passes_with_a_certificate_alone() {
        for (leg, may_pass) in [(Leg::Plaintext, false), (Leg::Tls, false), (Leg::Certified, true)] {
            assert_eq!(passes(b"External", leg), may_pass, "{leg:?}");
            assert_eq!(may_be_asked_for(b"EXTERNAL", leg), may_pass, "{leg:?}");
            assert_eq!(passing(b"PLAIN EXTERNAL", leg).count(), 1 + usize::from(may_pass), "{leg:?}");
        }
    }

    #[test]
    fn what_is_no_mechanisms_name_is_not_asked_for() {
        for word in ["EXTERNAL\t=", "EXTERNAL ", "EXTERNAL\x0b", "EXTERNAL\"", "", "PL\u{e4}IN"] {
            assert!(!may_be_asked_for(word.as_bytes(), Leg::Certified), "{word:?}");
        }
        assert!(may_be_asked_for(b"scram-sha-256", Leg::Tls) && may_be_asked_for(b"KERBEROS_V4", Leg::Tls));
    }

    #[test]
    fn a_list_loses_what_does_not_pass_and_nothing_else() {
        let kept: Vec<&[u8]> = passing(b" PLAIN  EXTERNAL\tLogin SCRAM-SHA-1-PLUS ", Leg::Tls).collect();
        assert_eq!(kept, [b"PLAIN".as_slice(), b"Login"]);
    }

    #[test]
    fn plain_names_the_one_whose_password_it_is() {
        assert_eq!(named("PLAIN", &[b"\0tim\0secret"]).as_deref(), Some("tim"));
        assert_eq!(named("plain", &[b"boss\0tim\0secret"]).as_deref(), Some("tim"));
    }

    #[test]
    fn a_malformed_plain_never_gives_the_password() {
        assert_eq!(named("PLAIN", &[b"tim\0secret"]), None);
        assert_eq!(named("PLAIN", &[b"secret"]), None);
        assert_eq!(named("PLAIN", &[b"\0\0secret"]), None);
        assert_eq!(user(b"PLAIN", &[b"*".to_vec()]), None);
        assert_eq!(user(b"LOGIN", &[b"=".to_vec(), b"c2VjcmV0".to_vec()]), None, "an initial response of no length");
        assert_eq!(user(b"PLAIN", &[]), None);
    }

    #[test]
    fn login_names_the_first_response() {
        assert_eq!(named("LOGIN", &[b"tim", b"secret"]).as_deref(), Some("tim"));
        assert_eq!(named("LOGIN", &[b"", b"secret"]), None);
    }

    #[test]
    fn external_names_whom_the_client_wants_to_be_taken_for() {
        assert_eq!(named("External", &[b"tim"]).as_deref(), Some("tim"));
        assert_eq!(named("EXTERNAL", &[b""]), None, "the name in the certificate says who it is");
        assert_eq!(user(b"EXTERNAL", &[b"=".to_vec()]), None, "the same, in the command");
        assert_eq!(user(b"EXTERNAL", &[b"*".to_vec()]), None);
    }

    #[test]
    fn scram_names_are_unescaped() {
        assert_eq!(named("SCRAM-SHA-256", &[b"n,,n=tim,r=abc", b"c=biws"]).as_deref(), Some("tim"));
        assert_eq!(named("SCRAM-SHA-1", &[b"y,a=boss,n=a=2Cb=3Dc=,r=n=x"]).as_deref(), Some("a,b=c="));
        assert_eq!(named("SCRAM-SHA-1", &[b"n=odd,,r=abc"]), None);
    }

    #[test]
    fn bearer_tokens_never_come_out() {
        assert_eq!(named("XOAUTH2", &[b"user=tim@x\x01auth=Bearer t\x01\x01"]).as_deref(), Some("tim@x"));
        assert_eq!(named("XOAUTH2", &[b"user=tim@x"]), None);
        assert_eq!(named("XOAUTH2", &[b"auth=Bearer t\x01user=tim\x01\x01"]), None);
        assert_eq!(named("OAUTHBEARER", &[b"n,a=t=2Cim@x,\x01auth=Bearer t\x01\x01"]).as_deref(), Some("t,im@x"));
        assert_eq!(named("OAUTHBEARER", &[b"n,,\x01auth=Bearer ,a=t\x01\x01"]), None);
    }

    #[test]
    fn cram_md5_names_stand_before_the_last_blank() {
        assert_eq!(named("CRAM-MD5", &[b"tim b 0123456789abcdef"]).as_deref(), Some("tim b"));
        assert_eq!(named("CRAM-MD5", &[b"", b"tim 0123456789abcdef"]).as_deref(), Some("tim"));
        assert_eq!(named("CRAM-MD5", &[b"tim"]), None);
    }

    #[test]
    fn other_mechanisms_name_nobody() {
        assert_eq!(named("GSSAPI", &[b"\0tim\0x"]), None);
        assert_eq!(named("DIGEST-MD5", &[b"", b"username=\"tim\""]), None);
    }

    #[test]
    fn missing_padding_is_tolerated() {
        assert_eq!(user(b"LOGIN", &[b"dGlt".to_vec()]).as_deref(), Some("tim"));
        assert_eq!(user(b"LOGIN", &[b"dGltbQ".to_vec()]).as_deref(), Some("timm"));
        assert_eq!(user(b"LOGIN", &[b"dGltbQ==".to_vec()]).as_deref(), Some("timm"));
    }

    #[test]
    fn a_long_name_is_cut_at_a_character() {
        let long = named("LOGIN", &["ä".repeat(500).as_bytes()]).unwrap();
        assert_eq!(long, "ä".repeat(128));
        let odd = named("LOGIN", &[format!("x{}", "ä".repeat(500)).as_bytes()]).unwrap();
        assert!(odd.len() <= LONGEST_NAME && odd.starts_with("xä"));
        assert!(bounded_name(&[0xff; 400]).unwrap().len() <= LONGEST_NAME);
    }

    #[test]
    fn an_exchange_remembers_the_first_and_the_last_response() {
        let mut login = Exchange::new(b"LOGIN");
        login.respond(b"dGlt");
        login.respond(b"c2VjcmV0");
        assert_eq!(login.user().as_deref(), Some("tim"));

        let mut cram = Exchange::new(b"CRAM-MD5");
        for response in ["", "eA==", "dGltIDAxMjM="] {
            cram.respond(response.as_bytes());
        }
        assert_eq!(cram.user().as_deref(), Some("tim"));
        assert_eq!(cram.responses.len(), 2);
    }
}
