//! Replies of one resolver, validated here (RFC 4035 §5): neither the resolver nor the way to it is trusted.
//!
//! Promises that AD is set in a reply if, and only if, every link from the trust anchor on was found good; that what is
//! bogus, or out of reach of any anchor, is an error; that a reply that the validator trips over is an error too, and
//! takes nothing else with it. Bounded are the records of a reply, the signatures that may fail for a set, the digests
//! and hashes that are computed for a name, and what is remembered. Not bounded, but by the caller's deadline, is how
//! many questions the validation of one reply asks of the resolver: a name has up to 127 labels, and a reply of
//! [`RECORDS`] may have as many names.

use std::{
    future::poll_fn,
    net::SocketAddr,
    panic::{AssertUnwindSafe, catch_unwind},
    pin::{Pin, pin},
    sync::{Arc, Mutex, PoisonError},
    task::Poll,
    time::Duration,
};

use domain::{
    base::{Message, ParsedName},
    dep::octseq::OctetsInto as _,
    dnssec::validator::context::{Config, ValidationContext, ValidationState},
    net::client::request::{ComposeRequest as _, Error, GetResponse, RequestMessage, SendRequest},
    rdata::Rrsig,
};
use hyper::body::Bytes;
use tokio::time::{Instant, timeout};

use super::{
    anchors::Anchors,
    question::{DATAGRAM, explained, is_answer, malformed},
};
use crate::{
    net::exchange::{Whole, exchange, random_id},
    policy::answer::{Ede, LookupError},
};

/// More records than any set of keys, addresses or hosts has, with signatures and proofs.
const RECORDS: usize = 256;

/// How many names it is remembered of whether, and with which keys, they are signed.
const NAMES: u64 = 500;

/// How long that, and what was found bogus on the way, holds at most.
const LONGEST: Duration = Duration::from_secs(300);

/// After this time everything is forgotten. The crate remembers signatures that were good without the time at which
/// they expire.
const FRESH: Duration = Duration::from_secs(60 * 60);

type Context = ValidationContext<Upstream>;

/// In a box: its state is large, and its types go deep, and neither is for the sessions that wait for it.
type Validation<'a> = Pin<Box<dyn Future<Output = Result<Whole, LookupError>> + Send + 'a>>;

/// Validates the replies of a resolver.
pub(super) struct Validator {
    anchors: Anchors,
    upstream: Upstream,
    current: Mutex<(Instant, Arc<Context>)>,
}

impl Validator {
    /// Asks `server` for keys, each of them for as long as `patience`.
    pub(super) fn new(anchors: Anchors, server: SocketAddr, patience: Duration) -> Self {
        let upstream = Upstream { server, patience };
        let current = Mutex::new((Instant::now(), Arc::new(context(&anchors, upstream))));
        Self { anchors, upstream, current }
    }

    /// The reply, with AD set where it is secure, and not set where it is insecure. It was asked for with DO and CD, and
    /// is an answer.
    ///
    /// # Errors
    /// That it is neither.
    pub(super) fn validate(&self, reply: Whole) -> Validation<'_> {
        Box::pin(self.judge(reply))
    }

    async fn judge(&self, mut reply: Whole) -> Result<Whole, LookupError> {
        is_bearable(&reply)?;
        is_of_its_zones(&reply)?;
        let context = self.context();
        let Some(validated) = contained(context.validate_msg::<_, Vec<u8>>(&mut reply)).await else {
            self.forget();
            return Err(malformed("the validator cannot make anything of it"));
        };
        let (state, why) = validated.map_err(|_| malformed("a record in it is damaged"))?;
        let is_secure = match state {
            ValidationState::Secure => true,
            ValidationState::Insecure => false,
            // RFC 7672 §2.1.1: both are lookup errors.
            ValidationState::Bogus | ValidationState::Indeterminate => {
                return Err(LookupError::Bogus { ede: why.as_ref().map(explained) });
            }
        };
        reply.header_mut().set_ad(is_secure);
        Ok(reply)
    }

    fn context(&self) -> Arc<Context> {
        let mut current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        if current.0.elapsed() >= FRESH {
            *current = (Instant::now(), Arc::new(context(&self.anchors, self.upstream)));
        }
        current.1.clone()
    }

    fn forget(&self) {
        let fresh = (Instant::now(), Arc::new(context(&self.anchors, self.upstream)));
        *self.current.lock().unwrap_or_else(PoisonError::into_inner) = fresh;
    }
}

impl std::fmt::Debug for Validator {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Validator").field("server", &self.upstream.server).finish_non_exhaustive()
    }
}

fn context(anchors: &Anchors, upstream: Upstream) -> Context {
    let mut config = Config::new();
    config.set_max_node_cache(NAMES);
    config.set_max_validity(LONGEST);
    // Each has the bytes that were signed. Answers, and the keys of names, are remembered anyway.
    config.set_max_isig_cache(1);
    config.set_max_usig_cache(1);
    ValidationContext::with_config(anchors.trusted(), upstream, config)
}

/// Neither the number of a set's records nor that of sets is bounded by the validator.
fn is_bearable(reply: &Whole) -> Result<(), LookupError> {
    let counts = reply.header_counts();
    let records = usize::from(counts.ancount()) + usize::from(counts.nscount());
    if records > RECORDS { Err(malformed("there are too many records in it")) } else { Ok(()) }
}

/// RFC 4035 §5.3.1: the signer is the zone of the records. The validator asks only whether the signer is signed: whoever
/// names a zone that is not would make any record insecure.
fn is_of_its_zones(reply: &Whole) -> Result<(), LookupError> {
    let damaged = |_| malformed("a signature in it is damaged");
    let sections = [reply.answer(), reply.authority()];
    for section in sections {
        let signatures = section.map_err(damaged)?.limit_to::<Rrsig<&[u8], ParsedName<&[u8]>>>();
        for signature in signatures {
            let signature = signature.map_err(damaged)?;
            if !signature.owner().ends_with(signature.data().signer_name()) {
                // RFC 8914 §4.7: DNSSEC Bogus.
                let text = "a signature in it is of a zone that its record is not in".to_owned();
                return Err(LookupError::Bogus { ede: Some(Ede { code: 6, text }) });
            }
        }
    }
    Ok(())
}

/// Does the work, or says that it panicked: the validator is new, and there are places in it where it would.
async fn contained<T>(work: impl Future<Output = T>) -> Option<T> {
    let mut work = pin!(work);
    poll_fn(|context| match catch_unwind(AssertUnwindSafe(|| work.as_mut().poll(context))) {
        Ok(poll) => poll.map(Some),
        Err(_) => Poll::Ready(None),
    })
    .await
}

/// Where the validator's own questions go.
#[derive(Clone, Copy, Debug)]
struct Upstream {
    server: SocketAddr,
    patience: Duration,
}

/// One of them.
#[derive(Debug)]
struct Asked {
    upstream: Upstream,
    request: RequestMessage<Vec<u8>>,
}

impl SendRequest<RequestMessage<Vec<u8>>> for Upstream {
    fn send_request(&self, request: RequestMessage<Vec<u8>>) -> Box<dyn GetResponse + Send + Sync> {
        Box::new(Asked { upstream: *self, request })
    }
}

type Response<'a> = Pin<Box<dyn Future<Output = Result<Message<Bytes>, Error>> + Send + Sync + 'a>>;

impl GetResponse for Asked {
    fn get_response(&mut self) -> Response<'_> {
        Box::pin(self.answer())
    }
}

impl Asked {
    async fn answer(&mut self) -> Result<Message<Bytes>, Error> {
        self.request.set_udp_payload_size(DATAGRAM);
        let mut request = self.request.to_message()?;
        request.header_mut().set_id(random_id());
        let Upstream { server, patience } = self.upstream;
        let reply = match timeout(patience, exchange(server, false, &request)).await {
            Ok(Ok(reply)) => reply,
            Ok(Err(_)) | Err(_) => return Err(Error::NoTransportAvailable),
        };
        // The validator makes "bogus" of an error, and forgets it soon. A SERVFAIL it would take for a denial that lacks
        // its proof, and remember.
        is_answer(&reply).and_then(|()| is_bearable(&reply)).map_err(|_| Error::FormError)?;
        Ok(Message::from_octets(reply.into_octets().octets_into())?)
    }
}
