//! The values of `[acme.<id>]`, each from its text: URLs, names, keys in base64.
//!
//! Refuses what an authority or a name server would refuse later, where the reason would be harder to see.

use std::net::IpAddr;

use base64::{
    Engine,
    alphabet::{self, Alphabet},
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig},
};
use hyper::Uri;

use super::TsigAlgorithm;
use crate::config::{
    host::{is_domain, is_host_name},
    nearest,
    word::Refusal,
};

/// `challenge`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::config) enum ChallengeName {
    TlsAlpn01,
    Http01,
    Dns01,
}

impl ChallengeName {
    pub(in crate::config) const ALL: [Self; 3] = [Self::TlsAlpn01, Self::Http01, Self::Dns01];

    pub(in crate::config) const fn name(self) -> &'static str {
        match self {
            Self::TlsAlpn01 => "tls-alpn-01",
            Self::Http01 => "http-01",
            Self::Dns01 => "dns-01",
        }
    }
}

/// `provider`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::config) enum ProviderName {
    Rfc2136,
    Exec,
}

impl ProviderName {
    pub(in crate::config) const ALL: [Self; 2] = [Self::Rfc2136, Self::Exec];

    pub(in crate::config) const fn name(self) -> &'static str {
        match self {
            Self::Rfc2136 => "rfc2136-tsig",
            Self::Exec => "exec",
        }
    }
}

/// Reads `provider`. The services of the documents that have an interface of their own are known by name.
pub(super) fn parse_provider(text: &str) -> Result<ProviderName, Refusal> {
    if matches!(text, "cloudflare" | "digitalocean" | "desec" | "ovh") {
        let right = "use provider = \"exec\" with a command that writes the record there";
        return Err(Refusal::new("has no client of its own in mailward", right));
    }
    let found = ProviderName::ALL.into_iter().find(|provider| provider.name() == text);
    found.ok_or_else(|| Refusal::new("is unknown", nearest::choices(text, &ProviderName::ALL.map(ProviderName::name))))
}

/// Reads `directory`.
pub(super) fn parse_directory(text: &str) -> Result<String, Refusal> {
    let right = "write the URL of the authority's directory: \"https://acme-v02.api.letsencrypt.org/directory\"";
    let url: Option<Uri> = text.parse().ok();
    let Some(url) = url.filter(|url| url.host().is_some_and(|host| !host.is_empty())) else {
        return Err(Refusal::new("is not a URL", right));
    };
    match url.scheme_str() {
        Some("https") if url.authority().is_some_and(|authority| !authority.as_str().contains('@')) => {
            Ok(text.to_owned())
        }
        Some("https") => Err(Refusal::new("holds a user's name, which an authority does not ask for", right)),
        // RFC 8555 §6.1: every exchange with an authority is over HTTPS.
        Some("http") => Err(Refusal::new("is not https, and whoever sits in between could forge all of it", right)),
        _ => Err(Refusal::new("is not an https URL", right)),
    }
}

/// Reads an entry of `contact`: a URL, or a mail address.
pub(super) fn parse_contact(text: &str) -> Result<String, Refusal> {
    let (scheme, rest) = text.split_once(':').unwrap_or(("mailto", text));
    if scheme != "mailto" {
        // RFC 8555 §7.3: mailto must be supported, and others may be.
        let is_scheme = scheme.starts_with(|c: char| c.is_ascii_alphabetic())
            && scheme.chars().all(|c| c.is_ascii_alphanumeric() || "+-.".contains(c));
        let refusal = || Refusal::new("is not a URL", "write \"mailto:postmaster@example.org\"");
        return if is_scheme && !rest.is_empty() { Ok(text.to_owned()) } else { Err(refusal()) };
    }
    // RFC 8555 §7.3: one address, and no header fields.
    let address = rest.rsplit_once('@').filter(|(local, domain)| {
        let forbidden = |c: char| c.is_whitespace() || matches!(c, ',' | '?' | '@' | '<' | '>');
        !local.is_empty() && !local.contains(forbidden) && is_domain(domain)
    });
    let refusal =
        || Refusal::new("is not a mail address", "write one in each entry, such as \"postmaster@example.org\"");
    address.map(|_| format!("mailto:{rest}")).ok_or_else(refusal)
}

/// Reads an entry of `domains`, in lower case.
pub(super) fn parse_domain(text: &str) -> Result<String, Refusal> {
    let name = text.strip_prefix("*.").unwrap_or(text);
    if text.trim_matches(['[', ']']).parse::<IpAddr>().is_ok() {
        return Err(Refusal::new("is an IP address", "write the names that clients use for this server"));
    }
    if !text.is_ascii() {
        let right = "write it as the DNS has it, where each label in other letters begins with xn-- (its A-label)";
        return Err(Refusal::new("is not written in ASCII", right));
    }
    // The rules for public certificates have no room for '_'.
    if is_host_name(name) && !name.contains('_') {
        return Ok(text.to_ascii_lowercase());
    }
    Err(Refusal::new("is not a domain name", "write \"mail.example.org\" or \"*.example.org\""))
}

/// Reads `host`.
pub(super) fn parse_host(text: &str) -> Result<IpAddr, Refusal> {
    let right = "write the IP address of the name server that takes updates";
    let address: IpAddr = text.parse().map_err(|_| Refusal::new("is not an IP address", right))?;
    let address = address.to_canonical();
    if address.is_unspecified() || address.is_multicast() {
        return Err(Refusal::new("cannot be connected to", right));
    }
    Ok(address)
}

/// Reads a name of the DNS, of a zone or of a key, in lower case and without the root's dot.
pub(super) fn parse_zone(text: &str) -> Result<String, Refusal> {
    let name = text.strip_suffix('.').unwrap_or(text);
    if is_host_name(name) {
        return Ok(name.to_ascii_lowercase());
    }
    Err(Refusal::new("is not a domain name", "write it as the name server has it"))
}

/// Reads `tsig-algorithm`. The documents have more than are fit for use.
pub(super) fn parse_algorithm(text: &str) -> Result<TsigAlgorithm, Refusal> {
    const INSTEAD: &str = "make a key for hmac-sha256";
    let known = TsigAlgorithm::ALL.into_iter().find(|algorithm| algorithm.name() == text);
    known.ok_or_else(|| match text {
        "hmac-md5" => Refusal::new("is broken, and its use forbidden (RFC 8945 §6)", INSTEAD),
        "gss" => Refusal::new("needs Kerberos, which mailward does not speak", INSTEAD),
        "hmac-sha224" => Refusal::new("is not spoken by mailward", INSTEAD),
        "hmac-sha256-128" | "hmac-sha384-192" | "hmac-sha512-256" => {
            Refusal::new("cuts its signatures short, which mailward does not", INSTEAD)
        }
        _ => Refusal::new("is unknown", nearest::choices(text, &TsigAlgorithm::ALL.map(TsigAlgorithm::name))),
    })
}

/// Reads a key in base64url (RFC 4648 §5), as authorities hand it out.
pub(super) fn parse_base64url(text: &str) -> Result<Vec<u8>, Refusal> {
    if text.contains(['+', '/']) {
        return Err(Refusal::new("is in base64, not in base64url", "write - for each +, and _ for each /"));
    }
    decode(&alphabet::URL_SAFE, text)
        .ok_or_else(|| Refusal::new("is not base64url", "write the key as the authority has given it"))
}

/// Reads a key in base64 (RFC 4648 §4), as name servers have it in their own configuration.
pub(super) fn parse_base64(text: &str) -> Result<Vec<u8>, Refusal> {
    decode(&alphabet::STANDARD, text)
        .ok_or_else(|| Refusal::new("is not base64", "write the secret as it stands in the name server's own file"))
}

/// The bytes, if there are any; padding may be there or not.
fn decode(alphabet: &Alphabet, text: &str) -> Option<Vec<u8>> {
    let config = GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent);
    GeneralPurpose::new(alphabet, config).decode(text).ok().filter(|bytes| !bytes.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_is_an_https_url() {
        for right in ["https://acme.example/directory", "https://[2001:db8::1]:14000/dir", "https://localhost"] {
            assert_eq!(parse_directory(right).as_deref(), Ok(right));
        }
        for wrong in ["acme.example", "/directory", "https://", "https:///dir", "http://127.0.0.1/dir", "ftp://a/b"] {
            assert!(parse_directory(wrong).is_err(), "{wrong}");
        }
        assert!(parse_directory("https://user:word@acme.example/").is_err());
    }

    #[test]
    fn a_contact_is_a_mail_address_or_a_url() {
        assert_eq!(parse_contact("ops@example.org").as_deref(), Ok("mailto:ops@example.org"));
        assert_eq!(parse_contact("mailto:ops@example.org").as_deref(), Ok("mailto:ops@example.org"));
        assert_eq!(parse_contact("tel:+123").as_deref(), Ok("tel:+123"));
        for wrong in
            ["ops", "@example.org", "mailto:", "mailto:a@b,c@d", "mailto:a@b?subject=x", "a b@c", "1:2", "tel:"]
        {
            assert!(parse_contact(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_domain_is_what_a_public_certificate_may_name() {
        assert_eq!(parse_domain("MX.Example.ORG").as_deref(), Ok("mx.example.org"));
        assert_eq!(parse_domain("*.xn--bcher-kva.example").as_deref(), Ok("*.xn--bcher-kva.example"));
        for wrong in
            ["", "*", "a.*.example", "*.*.example", "a_b.example", "example.org.", "192.0.2.1", "[2001:db8::1]"]
        {
            assert!(parse_domain(wrong).is_err(), "{wrong}");
        }
        assert!(parse_domain("bücher.example").unwrap_err().right.contains("xn--"));
    }

    #[test]
    fn keys_are_read_with_and_without_padding() {
        for text in ["_-8", "_-8="] {
            assert_eq!(parse_base64url(text).as_deref(), Ok(&[0xff, 0xef][..]));
        }
        for text in ["/+8", "/+8="] {
            assert_eq!(parse_base64(text).as_deref(), Ok(&[0xff, 0xef][..]));
            assert_eq!(parse_base64url(text).unwrap_err().what, "is in base64, not in base64url");
        }
        for wrong in ["", "=", "a", "a b", "ab!d"] {
            assert!(parse_base64(wrong).is_err() && parse_base64url(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn algorithms_that_are_not_fit_for_use_are_known_by_name() {
        assert_eq!(parse_algorithm("hmac-sha512"), Ok(TsigAlgorithm::HmacSha512));
        for known in ["hmac-md5", "gss", "hmac-sha224", "hmac-sha256-128", "hmac-sha384-192", "hmac-sha512-256"] {
            assert_eq!(parse_algorithm(known).unwrap_err().right, "make a key for hmac-sha256", "{known}");
        }
        assert_eq!(parse_algorithm("hmac-sha3").unwrap_err().what, "is unknown");
    }
}
