//! The relay guard: a gateway whose address the backend trusts must not make it an open relay (spec §3.3).

/// Who may send mail to whom through a listener.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Guard {
    /// `require-auth`: MAIL before the backend accepted AUTH is refused (submission).
    pub require_auth: bool,
    /// `rcpt-domains`: without an accepted AUTH, RCPT to any other domain is refused. `None`: no check.
    pub rcpt_domains: Option<Vec<DomainPattern>>,
}

/// One entry of `rcpt-domains`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DomainPattern {
    /// `*`: every domain and every form of address.
    Any,
    /// `example.org`: this domain, in lower case.
    Exact(String),
    /// `*.example.org`: every domain below it (kept as `example.org`, in lower case).
    Below(String),
}
