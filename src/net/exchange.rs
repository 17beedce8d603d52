//! One request to a name server and the reply to it, by UDP or TCP (RFC 1035 §4.2). The caller sets the deadline.

use std::{
    io,
    net::{Ipv4Addr, Ipv6Addr, SocketAddr},
    time::Duration,
};

use domain::base::Message;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpStream, UdpSocket},
    time::timeout,
};

/// A message that is complete.
pub(crate) type Whole = Message<Vec<u8>>;

/// The longest message by UDP, without EDNS.
const DATAGRAM: usize = 512;

/// After this time a datagram counts as lost for the first time; after twice as long for the second, and so on.
const LOST_AFTER: Duration = Duration::from_secs(1);

/// Sends a request and waits for the reply.
///
/// # Errors
/// What the system says, or that what comes by TCP is no reply to the request.
pub(crate) async fn exchange(server: SocketAddr, tcp: bool, request: &Whole) -> io::Result<Whole> {
    if !tcp && request.as_slice().len() <= DATAGRAM {
        let reply = by_udp(server, request).await?;
        if !reply.header().tc() {
            return Ok(reply);
        }
    }
    by_tcp(server, request).await
}

/// A socket of its own for each request: the number of its port is as hard to guess as the request's, and once it is
/// connected the kernel drops what another address sends.
async fn by_udp(server: SocketAddr, request: &Whole) -> io::Result<Whole> {
    let any = if server.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
    let socket = UdpSocket::bind(SocketAddr::new(any, 0)).await?;
    socket.connect(server).await?;
    let mut patience = LOST_AFTER;
    loop {
        socket.send(request.as_slice()).await?;
        match timeout(patience, receive(&socket, request)).await {
            Ok(received) => return received,
            Err(_) => patience *= 2,
        }
    }
}

/// Waits for the reply. What is none may be forged, or late, and is passed over.
async fn receive(socket: &UdpSocket, request: &Whole) -> io::Result<Whole> {
    let mut datagram = [0; 4096];
    loop {
        let length = socket.recv(&mut datagram).await?;
        if let Ok(reply) = Message::try_from_octets(datagram[..length].to_vec())
            && answers(&reply, request)
        {
            return Ok(reply);
        }
    }
}

async fn by_tcp(server: SocketAddr, request: &Whole) -> io::Result<Whole> {
    let mut stream = TcpStream::connect(server).await?;
    let length = u16::try_from(request.as_slice().len()).map_err(io::Error::other)?;
    // RFC 7766 §8: the length and the message in one segment.
    stream.write_all(&[&length.to_be_bytes(), request.as_slice()].concat()).await?;
    let mut reply = vec![0; stream.read_u16().await?.into()];
    stream.read_exact(&mut reply).await?;
    let reply = Message::from_octets(reply).ok().filter(|reply| answers(reply, request));
    reply.ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "what it says is no reply to the request"))
}

/// The number of a request: together with the port it keeps others from answering in the server's place.
pub(crate) fn random_id() -> u16 {
    let mut id = [0; 2];
    aws_lc_rs::rand::fill(&mut id).expect("the system has random numbers");
    u16::from_be_bytes(id)
}

/// Whether `reply` is one to `request`. Some refusals leave the question out.
pub(crate) fn answers(reply: &Whole, request: &Whole) -> bool {
    let (ours, theirs) = (request.header(), reply.header());
    theirs.qr()
        && theirs.id() == ours.id()
        && theirs.opcode() == ours.opcode()
        && (reply.header_counts().qdcount() == 0 || reply.question() == request.question())
}

#[cfg(test)]
mod tests {
    use domain::base::{
        MessageBuilder, Name, Rtype,
        iana::{Opcode, Rcode},
    };
    use tokio::net::TcpListener;

    use super::*;

    fn request(id: u16) -> Whole {
        request_for("example.org", id)
    }

    fn request_for(name: &str, id: u16) -> Whole {
        let name: Name<Vec<u8>> = Name::vec_from_str(name).unwrap();
        let mut message = MessageBuilder::new_vec();
        message.header_mut().set_id(id);
        let mut question = message.question();
        question.push((name, Rtype::TXT)).unwrap();
        question.into_message()
    }

    fn reply(request: &Whole, code: Rcode) -> Vec<u8> {
        MessageBuilder::new_vec().start_answer(request, code).unwrap().finish()
    }

    #[test]
    fn only_a_reply_to_this_very_request_is_one() {
        let request = request(7);
        let answered = |to: &Whole| Whole::from_octets(reply(to, Rcode::NOERROR)).unwrap();
        assert!(answers(&answered(&request), &request));
        assert!(!answers(&request, &request), "an echo");
        assert!(!answers(&answered(&request_for("example.org", 8)), &request), "another number");
        assert!(!answers(&answered(&request_for("example.net", 7)), &request), "another question");
        let mut notice = answered(&request);
        notice.header_mut().set_opcode(Opcode::NOTIFY);
        assert!(!answers(&notice, &request), "another kind of request");
        let mut bare = MessageBuilder::new_vec();
        bare.header_mut().set_id(7);
        bare.header_mut().set_qr(true);
        assert!(answers(&bare.into_message(), &request), "a refusal without the question");
    }

    async fn server() -> (UdpSocket, SocketAddr) {
        let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let address = socket.local_addr().unwrap();
        (socket, address)
    }

    /// A UDP socket and a listener on the same port. A port that is free by the one protocol may be taken by the other.
    async fn on_one_port() -> (UdpSocket, TcpListener) {
        loop {
            let (socket, address) = server().await;
            if let Ok(listener) = TcpListener::bind(address).await {
                return (socket, listener);
            }
        }
    }

    async fn client_of(server: &UdpSocket) -> SocketAddr {
        server.recv_from(&mut [0; DATAGRAM]).await.unwrap().1
    }

    #[tokio::test]
    async fn only_the_reply_counts_whatever_else_comes() {
        let (server, address) = server().await;
        let stranger = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let ours = request(7);
        let answering = async {
            let client = client_of(&server).await;
            stranger.send_to(&reply(&ours, Rcode::REFUSED), client).await.unwrap();
            server.send_to(b"no message", client).await.unwrap();
            server.send_to(&reply(&request(8), Rcode::REFUSED), client).await.unwrap();
            server.send_to(&reply(&ours, Rcode::NXDOMAIN), client).await.unwrap();
        };
        let (answer, ()) = tokio::join!(exchange(address, false, &ours), answering);
        assert_eq!(answer.unwrap().header().rcode(), Rcode::NXDOMAIN);
    }

    #[tokio::test]
    async fn a_lost_datagram_is_sent_again() {
        let (server, address) = server().await;
        let ours = request(7);
        let answering = async {
            client_of(&server).await;
            let client = client_of(&server).await;
            server.send_to(&reply(&ours, Rcode::NOERROR), client).await.unwrap();
        };
        let (answer, ()) = tokio::join!(exchange(address, false, &ours), answering);
        assert!(answer.is_ok());
    }

    /// Takes one request by TCP and sends these bytes.
    async fn by_tcp(listener: &TcpListener, bytes: &[u8]) {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut request = vec![0; stream.read_u16().await.unwrap().into()];
        stream.read_exact(&mut request).await.unwrap();
        stream.write_all(bytes).await.unwrap();
    }

    fn framed(message: &[u8]) -> Vec<u8> {
        let length = u16::try_from(message.len()).unwrap().to_be_bytes();
        [&length, message].concat()
    }

    #[tokio::test]
    async fn a_reply_that_does_not_fit_comes_by_tcp() {
        let (server, listener) = on_one_port().await;
        let (address, ours) = (listener.local_addr().unwrap(), request(7));
        let answering = async {
            let client = client_of(&server).await;
            let mut cut = MessageBuilder::new_vec().start_answer(&ours, Rcode::NOERROR).unwrap();
            cut.header_mut().set_tc(true);
            server.send_to(&cut.finish(), client).await.unwrap();
            by_tcp(&listener, &framed(&reply(&ours, Rcode::NXDOMAIN))).await;
        };
        let (answer, ()) = tokio::join!(exchange(address, false, &ours), answering);
        assert_eq!(answer.unwrap().header().rcode(), Rcode::NXDOMAIN);
    }

    #[tokio::test]
    async fn what_is_no_reply_by_tcp_is_an_error() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let ours = request(7);
        let cases = [
            (framed(&reply(&request(8), Rcode::NOERROR)), io::ErrorKind::InvalidData),
            (framed(b"short"), io::ErrorKind::InvalidData),
            (vec![0, 12, 0], io::ErrorKind::UnexpectedEof),
            (vec![], io::ErrorKind::UnexpectedEof),
        ];
        for (bytes, expected) in cases {
            let (answer, ()) = tokio::join!(exchange(address, true, &ours), by_tcp(&listener, &bytes));
            assert_eq!(answer.unwrap_err().kind(), expected, "{bytes:?}");
        }
    }
}
