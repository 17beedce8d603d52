//! What the operator has to be told of a backend (spec §4.2, last paragraph).

/// What makes a backend unusable behind mailward until its operator changes a setting.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Complaint {
    /// The backend lists LOGINDISABLED, offers no AUTH, or answers PRIVACYREQUIRED on the plaintext leg.
    LoginRefusedInPlaintext,
    /// The backend greeted with PREAUTH.
    Preauth,
    /// The backend sent something before it was asked.
    SpokeUnasked,
    /// The backend does not take mailward's word for who the client is (`identity`).
    IdentityRefused,
    /// Sessions are to come from their clients' addresses, and the backend has none of a client's family.
    OtherFamily,
    /// Sessions are to come from their clients' addresses, and none came about within the time for it.
    NoWayBack,
    /// The backend, or somebody in between, sent more than an answer before TLS.
    SpokeBeforeTls,
}

/// The complaint of one session: the first is kept until it is asked for, and no second one follows it.
#[derive(Debug, Default)]
pub(super) struct Complaints {
    raised: bool,
    untold: Option<Complaint>,
}

impl Complaints {
    /// Notes a complaint, if it is the first.
    pub(super) fn raise(&mut self, complaint: Complaint) {
        if !std::mem::replace(&mut self.raised, true) {
            self.untold = Some(complaint);
        }
    }

    /// The complaint, once.
    pub(super) fn take(&mut self) -> Option<Complaint> {
        self.untold.take()
    }
}
