//! One place to connect to, and the places that a configured address means.

use std::{
    fmt::{self, Display},
    io,
    net::SocketAddr,
    path::PathBuf,
    sync::Arc,
};

use tokio::time::timeout;

use super::{Backend, DialFault};
use crate::{
    config::{Address, Member},
    net::dns::Resolver,
};

/// One place to connect to, or a name for some.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Target {
    /// Over TCP, with the name that the address was found by, if it was.
    Tcp(SocketAddr, Option<String>),
    /// Over a unix socket.
    Unix(PathBuf),
    /// In this process.
    Embedded,
    /// Not a place yet: it is looked up first.
    Name(String, u16),
}

impl Target {
    /// Whom a connection to it is for: a name, or an address without its port.
    pub(super) fn host(&self) -> String {
        match self {
            Self::Tcp(_, Some(name)) | Self::Name(name, _) => name.clone(),
            Self::Tcp(address, None) => address.ip().to_string(),
            Self::Unix(_) | Self::Embedded => "localhost".to_owned(),
        }
    }
}

impl Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address, _) => write!(f, "{address}"),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
            Self::Embedded => f.write_str("embedded"),
            Self::Name(name, port) => write!(f, "{name}:{port}"),
        }
    }
}

impl Backend {
    /// What the configuration names.
    pub(super) fn named(&self, address: &Address) -> Target {
        let port = |port: &Option<u16>| port.unwrap_or(self.config.default_port(self.protocol));
        match address {
            Address::Ip(ip, at) => Target::Tcp(SocketAddr::new(*ip, port(at)), None),
            Address::Name(name, at) => Target::Name(name.clone(), port(at)),
            Address::Unix(path) => Target::Unix(path.clone()),
            Address::Embedded => Target::Embedded,
        }
    }

    /// The places of all these members that new sessions may go to, with their weights. A name that is not known is
    /// left out for a while, as an address is that does not answer.
    pub(super) async fn candidates(
        &self,
        members: &[Member],
        resolver: &Resolver,
    ) -> Result<Vec<(Target, u32)>, DialFault> {
        let mut all = Vec::new();
        for member in members.iter().filter(|member| member.weight > 0) {
            let targets = self.targets(self.named(&member.address), resolver).await?;
            all.extend(targets.into_iter().map(|target| (target, member.weight)));
        }
        Ok(all)
    }

    /// The places that a target means: its own, or those of a name. None, where the name is left out, or is now.
    pub(super) async fn targets(&self, target: Target, resolver: &Resolver) -> Result<Vec<Target>, DialFault> {
        let Target::Name(name, port) = &target else { return Ok(vec![target]) };
        let Some(mut hold) = self.pool.take(&target, false) else { return Ok(Vec::new()) };
        match self.look_up(name, *port, resolver).await {
            Ok(targets) => {
                hold.means(&targets);
                Ok(targets)
            }
            Err(error) => self.blame(&mut hold, &error).map(|()| Vec::new()),
        }
    }

    pub(super) async fn look_up(
        &self,
        name: &str,
        port: u16,
        resolver: &Resolver,
    ) -> Result<Vec<Target>, Arc<io::Error>> {
        let found = timeout(self.config.connect_timeout, resolver.resolve(name, port)).await;
        let found = found.unwrap_or_else(|_| Err(Arc::new(self.too_late("not resolved"))))?;
        Ok(found.into_iter().map(|found| Target::Tcp(found, Some(name.to_owned()))).collect())
    }
}
