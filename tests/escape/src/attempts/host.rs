//! What listens on the host, and the host's network.

use crate::protection::Protection::{
    self, Capabilities, Network, Root, Seccomp, Session, UserNamespace,
};
use crate::sys::{Arg, call};
use crate::world::{World, refuse};
use crate::{Attempt, Fail, Outcome};
use std::fs;
use std::os::fd::AsRawFd;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram, UnixStream};

const ROOT: &[Protection] = &[Root];
const NET: &[Protection] = &[Network];

pub const ATTEMPTS: &[Attempt] = &[
    Attempt::new("dbus-socket", "connect to the system bus", ROOT, dbus).harmless(),
    Attempt::new("systemd-socket", "connect to systemd's private socket", ROOT, systemd).harmless(),
    Attempt::new("notify-socket", "send systemd a notification", ROOT, notify).harmless(),
    Attempt::new("journal-socket", "write to the journal as somebody else", ROOT, journal)
        .harmless(),
    Attempt::new("control-socket", "connect to the pod's control socket", ROOT, control).harmless(),
    Attempt::new(
        "abstract-socket",
        "connect to an abstract socket of the host",
        NET,
        abstract_socket,
    )
    .harmless(),
    Attempt::new("host-port", "connect to a port of the host's loopback", NET, port).harmless(),
    Attempt::new("host-link", "see the host's network interfaces", NET, link).harmless(),
    Attempt::new(
        "packet-socket",
        "see the host's traffic with a raw socket",
        &[Network, UserNamespace],
        packet,
    ),
    Attempt::new(
        "net-admin",
        "give the host's loopback another address",
        &[Network, UserNamespace, Capabilities],
        net_admin,
    ),
    Attempt::new("tiocsti", "type into the caller's terminal", &[Session], tiocsti),
    Attempt::new("tioclinux", "select and paste on the console", &[Session, Seccomp], tioclinux),
];

fn first(paths: &[&str], connect: impl Fn(&str) -> std::io::Result<()>) -> Outcome {
    let mut last = refuse("nothing to connect to");
    for path in paths {
        last = connect(path).map_err(Fail::from).map(|()| format!("connected to {path}"));
        if last.is_ok() {
            break;
        }
    }
    last
}

fn stream(paths: &[&str]) -> Outcome {
    first(paths, |path| UnixStream::connect(path).map(drop))
}

fn datagram(paths: &[&str], text: &[u8]) -> Outcome {
    first(paths, |path| UnixDatagram::unbound()?.send_to(text, path).map(drop))
}

fn dbus(_: &World) -> Outcome {
    stream(&["/run/dbus/system_bus_socket", "/var/run/dbus/system_bus_socket"])
}

fn systemd(_: &World) -> Outcome {
    stream(&["/run/systemd/private", "/run/systemd/io.system.ManagedOOM"])
}

fn notify(_: &World) -> Outcome {
    if let Ok(path) = std::env::var("NOTIFY_SOCKET") {
        return datagram(&[&path], b"STATUS=escaped");
    }
    datagram(&["/run/systemd/notify"], b"STATUS=escaped")
}

fn journal(_: &World) -> Outcome {
    datagram(&["/run/systemd/journal/socket", "/dev/log"], b"MESSAGE=escaped\n")
}

fn control(world: &World) -> Outcome {
    // The kernel lists the names of sockets that are in sight.
    let table = fs::read_to_string("/proc/net/unix").unwrap_or_default();
    let names = table.lines().filter_map(|line| line.split(' ').next_back());
    let named = names.filter(|name| name.ends_with("/control") || *name == "control");
    let mut paths: Vec<String> = named.map(str::to_owned).collect();
    paths.extend(world.told("CONTROL").ok());
    let mut last = refuse("no control socket is in sight");
    for path in paths {
        let args = &mut [Arg::Int(1), Arg::Int(i64::from(libc::SOCK_SEQPACKET)), Arg::Int(0)];
        let fd = call(libc::SYS_socket, args)?;
        let mut address = 1u16.to_ne_bytes().to_vec();
        address.extend(path.as_bytes());
        address.push(0);
        let length = i64::try_from(address.len()).unwrap_or(0);
        let args = &mut [Arg::Int(fd), Arg::In(&address), Arg::Int(length)];
        last = call(libc::SYS_connect, args)
            .map_err(Fail::from)
            .map(|_| format!("connected to {path}"));
        if last.is_ok() {
            break;
        }
    }
    last
}

fn abstract_socket(world: &World) -> Outcome {
    let name = world.told("ABSTRACT")?;
    UnixStream::connect_addr(&SocketAddr::from_abstract_name(&name)?)?;
    Ok(format!("connected to @{name}"))
}

fn port(world: &World) -> Outcome {
    let port = world.told("PORT")?;
    std::net::TcpStream::connect(format!("127.0.0.1:{port}"))?;
    Ok(format!("connected to port {port}"))
}

fn link(world: &World) -> Outcome {
    let name = world.told("LINK")?;
    let table = fs::read_to_string("/proc/net/dev")?;
    if table.contains(&format!("{name}:")) {
        Ok(format!("{name} is there"))
    } else {
        refuse("only its own")
    }
}

fn packet(world: &World) -> Outcome {
    // ETH_P_ALL, in network order.
    let args = &mut [
        Arg::Int(i64::from(libc::AF_PACKET)),
        Arg::Int(i64::from(libc::SOCK_RAW)),
        Arg::Int(0x0300),
    ];
    call(libc::SYS_socket, args)?;
    // In a network of the pod's own there is nothing to see.
    link(world)
}

/// `struct ifreq` for `name` with an IPv4 address.
fn request(name: &str, address: [u8; 4]) -> [u8; 40] {
    let mut bytes = [0u8; 40];
    for (place, byte) in bytes.iter_mut().zip(name.bytes()) {
        *place = byte;
    }
    // sockaddr_in: family, port, address.
    for (place, byte) in bytes.iter_mut().skip(16).zip(2u16.to_ne_bytes()) {
        *place = byte;
    }
    for (place, byte) in bytes.iter_mut().skip(20).zip(address) {
        *place = byte;
    }
    bytes
}

fn net_admin(world: &World) -> Outcome {
    let socket = std::net::UdpSocket::bind("0.0.0.0:0")?;
    let fd = i64::from(socket.as_raw_fd());
    // SIOCSIFADDR
    let alias = request("lo:esc", [127, 77, 77, 77]);
    call(libc::SYS_ioctl, &mut [Arg::Int(fd), Arg::Int(0x8916), Arg::In(&alias)])?;
    let seen = link(world)?;
    // SIOCSIFFLAGS down takes the alias away.
    let down = request("lo:esc", [0; 4]).map(|byte| if byte == 2 { 0 } else { byte });
    let _ = call(libc::SYS_ioctl, &mut [Arg::Int(fd), Arg::Int(0x8914), Arg::In(&down)]);
    Ok(format!("the loopback is 127.77.77.77 too, and {seen}"))
}

fn tiocsti(_: &World) -> Outcome {
    let mut pending = [0u8; 4];
    for fd in 0..3 {
        let args = &mut [Arg::Int(fd), Arg::Int(0x5413), Arg::Out(&mut [0; 8])];
        // TIOCGWINSZ: whether that is a terminal.
        if call(libc::SYS_ioctl, args).is_err() {
            continue;
        }
        // TIOCSTI
        for byte in b"escaped\n" {
            call(libc::SYS_ioctl, &mut [Arg::Int(fd), Arg::Int(0x5412), Arg::In(&[*byte])])?;
        }
        // FIONREAD
        call(libc::SYS_ioctl, &mut [Arg::Int(fd), Arg::Int(0x541B), Arg::Out(&mut pending)])?;
        let count = i32::from_ne_bytes(*std::hint::black_box(&pending));
        return if count > 0 {
            Ok(format!("typed {count} characters"))
        } else {
            refuse("nothing typed")
        };
    }
    refuse("no terminal")
}

fn tioclinux(_: &World) -> Outcome {
    let has_console =
        fs::metadata("/dev/tty1").is_ok() && fs::metadata("/sys/class/tty/tty1").is_ok();
    let mut last = refuse("no terminal");
    for fd in 0..3 {
        // TIOCL_PASTESEL
        match call(libc::SYS_ioctl, &mut [Arg::Int(fd), Arg::Int(0x541C), Arg::In(&[3])]) {
            Ok(_) => return Ok("pasted".into()),
            Err(errno) => last = Err(errno.into()),
        }
    }
    if has_console || world_is_closed() {
        return last;
    }
    Err(Fail::Impossible("this kernel has no virtual terminals".into()))
}

/// In a pod: there the answer is what counts.
fn world_is_closed() -> bool {
    std::env::var("container").is_ok()
}
