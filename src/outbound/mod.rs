//! Mail on its way into the world: what DNS says of a recipient's domain, and which hosts take its mail.

pub mod dns;
pub mod lookup;
pub mod route;
