//! A server on loopback that does what a test says, however wrong that is.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// A request.
#[derive(Clone, Debug)]
pub struct Asked {
    pub path: String,
    /// Names in lower case.
    pub headers: Vec<(String, String)>,
}

impl Asked {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }
}

/// An answer.
pub struct Reply {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: Body,
}

/// What follows the headers.
pub enum Body {
    /// These bytes, with their length.
    Bytes(Vec<u8>),
    /// A length of its own, and bytes that may be fewer.
    Said(u64, Vec<u8>),
    /// Zeros for ever, without a length.
    Endless,
    /// These bytes, then a zero now and then.
    Drip(u64, Vec<u8>),
    /// These bytes, and then silence.
    Hold(u64, Vec<u8>),
    /// Instead of an answer: these bytes.
    Raw(Vec<u8>),
    /// Instead of an answer: a letter of a header now and then.
    DripHeaders,
}

impl Reply {
    pub fn new(status: u16, body: impl Into<Vec<u8>>) -> Self {
        Self { status, headers: Vec::new(), body: Body::Bytes(body.into()) }
    }

    pub fn body(body: Body) -> Self {
        Self { status: 200, headers: Vec::new(), body }
    }

    pub fn with(mut self, name: &str, value: impl Into<String>) -> Self {
        self.headers.push((name.to_owned(), value.into()));
        self
    }
}

type Handler = dyn Fn(&Asked) -> Reply + Send + Sync;

/// A server that ends with its test.
pub struct Server {
    pub port: u16,
    asked: Arc<Mutex<Vec<Asked>>>,
    stop: Arc<AtomicBool>,
}

impl Server {
    pub fn start(handler: impl Fn(&Asked) -> Reply + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let (asked, stop) = (Arc::new(Mutex::new(Vec::new())), Arc::new(AtomicBool::new(false)));
        let (log, over): (Arc<Mutex<Vec<Asked>>>, _) = (Arc::clone(&asked), Arc::clone(&stop));
        let handler: Arc<Handler> = Arc::new(handler);
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                if over.load(Ordering::Relaxed) {
                    return;
                }
                let (handler, log, over) =
                    (Arc::clone(&handler), Arc::clone(&log), Arc::clone(&over));
                std::thread::spawn(move || {
                    if let Ok(stream) = stream {
                        // The client may go at any time.
                        let _ = serve(stream, &*handler, &log, &over);
                    }
                });
            }
        });
        Self { port, asked, stop }
    }

    pub fn host(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// Everything that was asked so far.
    pub fn asked(&self) -> Vec<Asked> {
        self.asked.lock().unwrap().clone()
    }

    /// How often paths with this in them were asked for.
    pub fn count(&self, part: &str) -> usize {
        self.asked().iter().filter(|asked| asked.path.contains(part)).count()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        let _ = TcpStream::connect(("127.0.0.1", self.port));
    }
}

fn serve(
    mut stream: TcpStream,
    handler: &Handler,
    log: &Mutex<Vec<Asked>>,
    over: &AtomicBool,
) -> std::io::Result<()> {
    stream.set_read_timeout(Some(Duration::from_secs(20)))?;
    stream.set_write_timeout(Some(Duration::from_secs(20)))?;
    let mut reader = BufReader::new(stream.try_clone()?);
    let mut line = String::new();
    reader.read_line(&mut line)?;
    let path = line.split(' ').nth(1).unwrap_or_default().to_owned();
    let mut headers = Vec::new();
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line)? == 0 || line == "\r\n" {
            break;
        }
        if let Some((name, value)) = line.split_once(':') {
            headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
        }
    }
    if let Some(length) = headers.iter().find(|(n, _)| n == "content-length") {
        let mut body = vec![0; length.1.parse().unwrap_or(0)];
        reader.read_exact(&mut body)?;
    }
    let asked = Asked { path, headers };
    log.lock().unwrap().push(asked.clone());
    let reply = handler(&asked);
    let drip = |stream: &mut TcpStream, byte: &[u8]| -> std::io::Result<()> {
        while !over.load(Ordering::Relaxed) {
            std::thread::sleep(Duration::from_millis(100));
            stream.write_all(byte)?;
        }
        Ok(())
    };
    let mut head = format!("HTTP/1.1 {} X\r\nConnection: close\r\n", reply.status);
    for (name, value) in &reply.headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    match reply.body {
        Body::Bytes(bytes) => {
            head.push_str(&format!("Content-Length: {}\r\n\r\n", bytes.len()));
            stream.write_all(head.as_bytes())?;
            stream.write_all(&bytes)
        }
        Body::Said(length, bytes) => {
            head.push_str(&format!("Content-Length: {length}\r\n\r\n"));
            stream.write_all(head.as_bytes())?;
            stream.write_all(&bytes)
        }
        Body::Endless => {
            stream.write_all(format!("{head}\r\n").as_bytes())?;
            while !over.load(Ordering::Relaxed) {
                stream.write_all(&[0; 65536])?;
            }
            Ok(())
        }
        Body::Drip(length, bytes) => {
            head.push_str(&format!("Content-Length: {length}\r\n\r\n"));
            stream.write_all(head.as_bytes())?;
            stream.write_all(&bytes)?;
            drip(&mut stream, &[0])
        }
        Body::Hold(length, bytes) => {
            head.push_str(&format!("Content-Length: {length}\r\n\r\n"));
            stream.write_all(head.as_bytes())?;
            stream.write_all(&bytes)?;
            drip(&mut stream, &[])
        }
        Body::Raw(bytes) => stream.write_all(&bytes),
        Body::DripHeaders => {
            stream.write_all(b"HTTP/1.1 200 OK\r\nX: ")?;
            drip(&mut stream, b"x")
        }
    }
}
