//! Bounds on what an HTTP/2 client may send that costs it nothing: frames that ask for answers, that say nothing, or that move windows.
//!
//! The frames are counted on their way past, before the codec sees them; a client that goes too far loses its connection.
//!
//! Source: Envoy's `http/http2/protocol_constraints.cc`; the limits' edges were measured on Envoy 1.40.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use thiserror::Error;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// What the client says before its first frame.
const PREFACE: usize = 24;
/// Length, type, flags, stream.
const HEAD: usize = 9;
const END_STREAM: u8 = 1;
const ACK: u8 = 1;
const PADDED: u8 = 8;

/// How far a client may go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct FloodLimits {
    /// PING and SETTINGS frames without a pause between them.
    control: u64,
    /// HEADERS, CONTINUATION and DATA frames with nothing in them, one after another.
    empty: u64,
    /// PRIORITY frames for each stream, and for the connection.
    priority: u64,
    /// WINDOW_UPDATE frames for each DATA frame that was sent.
    window_update: u64,
}

impl FloodLimits {
    /// From the options, with Envoy's defaults.
    pub(super) fn of(options: &xds::Http2ProtocolOptions) -> FloodLimits {
        let limit = |option: Option<u32>, default: u64| option.map_or(default, u64::from);
        FloodLimits {
            control: limit(options.max_outbound_control_frames, 1000),
            empty: limit(options.max_consecutive_inbound_frames_with_empty_payload, 1),
            priority: limit(options.max_inbound_priority_frames_per_stream, 100),
            window_update: limit(options.max_inbound_window_update_frames_per_data_frame_sent, 10),
        }
    }
}

/// Too many of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub(super) enum Flood {
    #[error("a flood of PING and SETTINGS frames")]
    Control,
    #[error("a flood of empty frames")]
    Empty,
    #[error("a flood of PRIORITY frames")]
    Priority,
    #[error("a flood of WINDOW_UPDATE frames")]
    WindowUpdate,
}

/// What has been seen of a connection.
#[derive(Debug, Default)]
struct Tally {
    control: u64,
    empty: u64,
    priority: u64,
    window_update: u64,
    streams: u64,
    last_stream: u32,
    data_sent: u64,
}

impl Tally {
    fn received(&mut self, frame: Frame, limits: &FloodLimits) -> Result<(), Flood> {
        match frame.kind {
            Kind::Data | Kind::Headers | Kind::Continuation => {
                let says_nothing =
                    frame.is_empty && (frame.kind == Kind::Continuation || frame.flags & END_STREAM == 0);
                self.empty = if says_nothing { self.empty + 1 } else { 0 };
                if frame.kind == Kind::Headers && frame.stream > self.last_stream {
                    self.last_stream = frame.stream;
                    self.streams += 1;
                }
            }
            Kind::Priority => self.priority += 1,
            Kind::WindowUpdate => self.window_update += 1,
            Kind::Ping | Kind::Settings if frame.flags & ACK == 0 => self.control += 1,
            Kind::Ping | Kind::Settings | Kind::Other => {}
        }
        let windows = 5 + 2 * (self.streams + limits.window_update * self.data_sent);
        match self {
            Tally { empty, .. } if *empty > limits.empty => Err(Flood::Empty),
            Tally { priority, streams, .. } if *priority > limits.priority * (1 + *streams) => Err(Flood::Priority),
            Tally { window_update, .. } if *window_update > windows => Err(Flood::WindowUpdate),
            Tally { control, .. } if *control > limits.control => Err(Flood::Control),
            _ => Ok(()),
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Data,
    Headers,
    Priority,
    Settings,
    Ping,
    WindowUpdate,
    Continuation,
    Other,
}

/// A frame's head, and whether anything but padding follows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Frame {
    kind: Kind,
    flags: u8,
    stream: u32,
    is_empty: bool,
}

/// Finds the frames in bytes that come in any pieces.
#[derive(Debug)]
struct Frames {
    /// Bytes that belong to no head.
    skip: usize,
    /// The part of a head that has come: its frame's, and of a padded one the padding's length.
    head: [u8; HEAD + 1],
    filled: usize,
}

impl Frames {
    fn behind(skip: usize) -> Frames {
        Frames { skip, head: [0; HEAD + 1], filled: 0 }
    }

    fn each<E>(&mut self, mut bytes: &[u8], mut seen: impl FnMut(Frame) -> Result<(), E>) -> Result<(), E> {
        while !bytes.is_empty() {
            if self.skip > 0 {
                let skipped = self.skip.min(bytes.len());
                self.skip -= skipped;
                bytes = bytes.get(skipped..).unwrap_or_default();
                continue;
            }
            let [first, rest @ ..] = bytes else { break };
            if let Some(place) = self.head.get_mut(self.filled) {
                *place = *first;
            }
            self.filled += 1;
            bytes = rest;
            if let Some(frame) = self.frame() {
                seen(frame)?;
            }
        }
        Ok(())
    }

    /// The frame whose head is complete now; its payload is skipped.
    fn frame(&mut self) -> Option<Frame> {
        let [l0, l1, l2, kind, flags, s0, s1, s2, s3, padding] = self.head;
        if self.filled < HEAD {
            return None;
        }
        let length = usize::try_from(u32::from_be_bytes([0, l0, l1, l2])).unwrap_or_default();
        let kind = match kind {
            0 => Kind::Data,
            1 => Kind::Headers,
            2 => Kind::Priority,
            4 => Kind::Settings,
            6 => Kind::Ping,
            8 => Kind::WindowUpdate,
            9 => Kind::Continuation,
            _ => Kind::Other,
        };
        let padded = flags & PADDED != 0 && length > 0 && matches!(kind, Kind::Data | Kind::Headers);
        if padded && self.filled == HEAD {
            return None;
        }
        let (read, padding) = if padded { (1, 1 + usize::from(padding)) } else { (0, 0) };
        self.skip = length - read;
        self.filled = 0;
        let stream = u32::from_be_bytes([s0, s1, s2, s3]) & 0x7fff_ffff;
        Some(Frame { kind, flags, stream, is_empty: length <= padding })
    }
}

/// A connection whose frames are counted.
pub(super) struct Watched<T> {
    io: T,
    limits: FloodLimits,
    tally: Tally,
    received: Frames,
    sent: Frames,
}

impl<T> Watched<T> {
    /// Over `io`, from the preface on.
    pub(super) fn new(io: T, limits: FloodLimits) -> Watched<T> {
        let (received, sent) = (Frames::behind(PREFACE), Frames::behind(0));
        Watched { io, limits, tally: Tally::default(), received, sent }
    }
}

impl<T: AsyncRead + Unpin> AsyncRead for Watched<T> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let before = buffer.filled().len();
        let read = Pin::new(&mut this.io).poll_read(cx, buffer);
        if read.is_pending() {
            this.tally.control = 0; // the client waits, and so reads
        }
        let new = buffer.filled().get(before..).unwrap_or_default();
        let (tally, limits) = (&mut this.tally, &this.limits);
        match this.received.each(new, |frame| tally.received(frame, limits)) {
            Ok(()) => read,
            Err(flood) => Poll::Ready(Err(io::Error::other(flood))),
        }
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for Watched<T> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, data: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let written = Pin::new(&mut this.io).poll_write(cx, data);
        if let Poll::Ready(Ok(count)) = &written {
            let tally = &mut this.tally;
            let sent = this.sent.each(data.get(..*count).unwrap_or_default(), |frame| {
                tally.data_sent += u64::from(frame.kind == Kind::Data);
                Ok::<(), std::convert::Infallible>(())
            });
            let Ok(()) = sent;
        }
        written
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().io).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().io).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
        let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
        [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
    }

    /// What comes of these bytes, cut into pieces of `size`.
    fn verdict(bytes: &[u8], size: usize) -> Result<(), Flood> {
        let limits = FloodLimits::of(&xds::Http2ProtocolOptions::default());
        let (mut frames, mut tally) = (Frames::behind(0), Tally::default());
        bytes.chunks(size).try_for_each(|piece| frames.each(piece, |frame| tally.received(frame, &limits)))
    }

    #[test]
    fn a_client_may_go_as_far_as_envoy_lets_it_in_any_split_of_its_bytes() {
        let opened = frame(1, 4, 1, b"head");
        let ended = frame(0, 1, 1, b"");
        for (what, bytes, expected) in [
            ("pings", frame(6, 0, 0, b"12345678").repeat(1000), Ok(())),
            ("one ping more", frame(6, 0, 0, b"12345678").repeat(1001), Err(Flood::Control)),
            ("settings", frame(4, 0, 0, b"").repeat(1001), Err(Flood::Control)),
            ("answers to pings", frame(6, ACK, 0, b"12345678").repeat(5000), Ok(())),
            ("priorities", frame(2, 0, 1, b"12345").repeat(100), Ok(())),
            ("one priority more", frame(2, 0, 1, b"12345").repeat(101), Err(Flood::Priority)),
            ("a stream's priorities", [opened.clone(), frame(2, 0, 1, b"12345").repeat(200)].concat(), Ok(())),
            ("window updates", frame(8, 0, 0, b"1234").repeat(5), Ok(())),
            ("one window update more", frame(8, 0, 0, b"1234").repeat(6), Err(Flood::WindowUpdate)),
            ("a stream's window updates", [opened.clone(), frame(8, 0, 0, b"1234").repeat(7)].concat(), Ok(())),
            ("empty data", [opened.clone(), frame(0, 0, 1, b"")].concat(), Ok(())),
            ("empty data twice", [opened.clone(), frame(0, 0, 1, b"").repeat(2)].concat(), Err(Flood::Empty)),
            ("data of padding", [opened.clone(), frame(0, 8, 1, b"\x02\0\0").repeat(2)].concat(), Err(Flood::Empty)),
            ("padded data", [opened.clone(), frame(0, 8, 1, b"\x02x\0\0").repeat(9)].concat(), Ok(())),
            ("an end", [opened.clone(), frame(0, 0, 1, b""), ended].concat(), Ok(())),
            ("empty continuations", [frame(1, 0, 1, b"x"), frame(9, 0, 1, b"").repeat(2)].concat(), Err(Flood::Empty)),
            ("unknown frames", frame(77, 0, 0, b"x").repeat(5000), Ok(())),
        ] {
            for size in [1, 7, 9, 10, bytes.len()] {
                assert_eq!(verdict(&bytes, size), expected, "{what}, {size} bytes at a time");
            }
        }
    }
}
