//! HTTPS as a client: a request, and the answer with its whole body.
//!
//! Promises: nothing but HTTPS, to a server whose certificate comes from one of the roots that were given and has the name of the
//! URL among its alternative names (SNI says that name); no redirection is followed, no proxy asked, no answer kept. The caller
//! sets the deadline and says how much of a body is bearable.

use std::{
    error::Error,
    future::Future,
    io,
    net::SocketAddr,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    vec,
};

use http_body_util::{BodyExt, LengthLimitError, Limited};
use hyper::{
    Request, Response,
    body::{Body, Bytes, Incoming},
};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::{
    client::legacy::{
        Client,
        connect::{HttpConnector, dns::Name},
    },
    rt::TokioExecutor,
};
use rustls::{CertificateError, ClientConfig, RootCertStore};
use tower_service::Service;

/// A client for requests with bodies of this kind.
#[derive(Debug)]
pub struct Https<B>(Client<HttpsConnector<HttpConnector<Names>>, B>);

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum HttpsFault {
    /// The server shows a certificate that does not hold.
    #[error("its certificate: {0}")]
    Certificate(CertificateError),
    /// There is no connection, or it broke before the answer.
    #[error("{0}")]
    Unreachable(String),
    /// It broke within the answer.
    #[error("its answer broke off: {0}")]
    BrokeOff(String),
    /// The answer has more octets than this.
    #[error("its answer has more than {0} octets")]
    TooLarge(usize),
}

impl<B> Https<B>
where
    B: Body + Send + 'static + Unpin,
    B::Data: Send,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
{
    /// A client that trusts `roots` and finds hosts by `names`.
    ///
    /// # Errors
    /// What rustls says.
    pub fn new(roots: RootCertStore, names: Names) -> Result<Self, rustls::Error> {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let tls = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
        let tls = tls.with_root_certificates(roots).with_no_client_auth();
        let mut http = HttpConnector::new_with_resolver(names);
        // The layer above has seen to it that it is https.
        http.enforce_http(false);
        let connector =
            HttpsConnectorBuilder::new().with_tls_config(tls).https_only().enable_http1().wrap_connector(http);
        Ok(Self(Client::builder(TokioExecutor::new()).build(connector)))
    }

    /// Asks, and returns the answer when its head is there.
    ///
    /// # Errors
    /// [`HttpsFault::Certificate`] or [`HttpsFault::Unreachable`].
    pub async fn ask(&self, request: Request<B>) -> Result<Response<Incoming>, HttpsFault> {
        self.0.request(request).await.map_err(|error| cause(&error))
    }
}

// The derived one would ask for bodies that can be cloned.
impl<B> Clone for Https<B> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

/// The answer with its whole body of up to `most` octets.
///
/// # Errors
/// [`HttpsFault::BrokeOff`] or [`HttpsFault::TooLarge`].
pub async fn whole(answer: Response<Incoming>, most: usize) -> Result<Response<Bytes>, HttpsFault> {
    let (parts, body) = answer.into_parts();
    let body =
        Limited::new(body, most).collect().await.map_err(|error| match error.downcast_ref::<LengthLimitError>() {
            Some(_) => HttpsFault::TooLarge(most),
            None => HttpsFault::BrokeOff(error.to_string()),
        });
    Ok(Response::from_parts(parts, body?.to_bytes()))
}

/// No connection, or one that broke: what is at the bottom of it.
fn cause(error: &(dyn Error + 'static)) -> HttpsFault {
    let mut reason = error;
    while let Some(source) = below(reason) {
        reason = source;
    }
    match reason.downcast_ref::<rustls::Error>() {
        Some(rustls::Error::InvalidCertificate(why)) => HttpsFault::Certificate(why.clone()),
        _ => HttpsFault::Unreachable(reason.to_string()),
    }
}

/// What is below an error. An io::Error names as its source what is below the error inside it, and not that error.
fn below<'e>(error: &'e (dyn Error + 'static)) -> Option<&'e (dyn Error + 'static)> {
    let inside = error.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
    inside.map(|inside| inside as _).or_else(|| error.source())
}

/// How the addresses of a host are found. An address with a port that is not 0 is connected to at that port where the URL
/// names none.
#[derive(Clone)]
pub struct Names(Arc<dyn Fn(String) -> Lookup + Send + Sync>);

/// A lookup under way.
type Lookup = Pin<Box<dyn Future<Output = io::Result<Vec<SocketAddr>>> + Send>>;

impl Names {
    /// Finds addresses as `look_up` does.
    pub fn by<F, L>(look_up: L) -> Self
    where
        F: Future<Output = io::Result<Vec<SocketAddr>>> + Send + 'static,
        L: Fn(String) -> F + Send + Sync + 'static,
    {
        Self(Arc::new(move |name| Box::pin(look_up(name))))
    }

    /// Finds them by the system's resolver, on the runtime's threads for blocking work.
    #[must_use]
    pub fn of_the_system() -> Self {
        Self::by(|name| async move { Ok(tokio::net::lookup_host((name, 0)).await?.collect()) })
    }
}

impl std::fmt::Debug for Names {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Names")
    }
}

impl Service<Name> for Names {
    type Response = vec::IntoIter<SocketAddr>;
    type Error = io::Error;
    type Future = Pin<Box<dyn Future<Output = io::Result<Self::Response>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), io::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, name: Name) -> Self::Future {
        let found = (self.0)(name.as_str().to_owned());
        Box::pin(async move { found.await.map(Vec::into_iter) })
    }
}
