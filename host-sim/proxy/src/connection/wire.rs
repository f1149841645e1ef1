//! One connection's bytes: a socket, what was read and not yet used, what is to be written.
//!
//! A connection belongs to one thread, and to one task on it. Reading and writing may still overlap inside that task (a
//! request's body goes out while its response comes in), hence the cells; none is borrowed across an await.

use std::cell::{Cell, RefCell, RefMut};
use std::future::poll_fn;
use std::io::{self, IoSlice};
use std::pin::{Pin, pin};
use std::task::{Context, Poll};

use bytes::BytesMut;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

/// What carries the bytes.
pub(crate) enum Io {
    /// In the clear.
    Plain(TcpStream),
    /// Encrypted, or behind bytes that were peeked at.
    Other(Box<dyn ReadWrite>),
}

/// Anything a connection can run over.
pub(crate) trait ReadWrite: AsyncRead + AsyncWrite + Unpin {}
impl<T: AsyncRead + AsyncWrite + Unpin> ReadWrite for T {}

/// Room asked for before a read.
const READ: usize = 16 * 1024;
/// Bodies up to this size are copied behind what waits to be written; larger ones are written from where they are.
const COPIED: usize = 8 * 1024;
/// Input kept for the next request while one is being answered.
const AHEAD: usize = 64 * 1024;

/// A connection's bytes.
pub(crate) struct Wire {
    io: RefCell<Io>,
    input: RefCell<BytesMut>,
    output: RefCell<Vec<u8>>,
    ended: Cell<bool>,
    received: Cell<u64>,
    sent: Cell<u64>,
}

impl Wire {
    /// Over `io`; `input` was read from it already.
    pub(crate) fn new(io: Io, input: BytesMut) -> Wire {
        let output = RefCell::default();
        let (received, sent) = (Cell::new(0), Cell::new(0));
        Wire { io: RefCell::new(io), input: RefCell::new(input), output, ended: Cell::new(false), received, sent }
    }

    /// The bytes as one stream again: those that were read first.
    pub(crate) fn into_stream(self) -> Replay {
        Replay { input: self.input.into_inner(), io: self.io.into_inner() }
    }

    /// What was read and not yet used.
    pub(crate) fn input(&self) -> RefMut<'_, BytesMut> {
        self.input.borrow_mut()
    }

    /// What waits to be written.
    pub(crate) fn output(&self) -> RefMut<'_, Vec<u8>> {
        self.output.borrow_mut()
    }

    /// The peer has ended its side.
    pub(crate) fn has_ended(&self) -> bool {
        self.ended.get()
    }

    /// Bytes read and written since this was last asked.
    pub(crate) fn take_counts(&self) -> (u64, u64) {
        (self.received.take(), self.sent.take())
    }

    /// Reads more into the input; zero is the end.
    pub(crate) async fn fill(&self) -> io::Result<usize> {
        poll_fn(|cx| self.poll_fill(cx)).await
    }

    /// See [`Wire::fill`].
    pub(crate) fn poll_fill(&self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        if self.ended.get() {
            return Poll::Ready(Ok(0));
        }
        let mut input = self.input.borrow_mut();
        if input.capacity() - input.len() < READ / 4 {
            input.reserve(READ);
        }
        let read = match &mut *self.io.borrow_mut() {
            Io::Plain(stream) => pin!(stream.read_buf(&mut *input)).poll(cx),
            Io::Other(stream) => pin!(stream.read_buf(&mut *input)).poll(cx),
        };
        if let Poll::Ready(Ok(count)) = &read {
            self.ended.set(*count == 0);
            self.received.set(self.received.get() + u64::try_from(*count).unwrap_or_default());
        }
        read
    }

    /// Ready when the peer is gone. What it sends meanwhile is kept for the next request, up to a limit.
    pub(crate) fn poll_gone(&self, cx: &mut Context<'_>) -> Poll<()> {
        loop {
            if self.input.borrow().len() >= AHEAD {
                return Poll::Pending;
            }
            match self.poll_fill(cx) {
                Poll::Ready(Ok(0) | Err(_)) => return Poll::Ready(()),
                Poll::Ready(Ok(_)) => {}
                Poll::Pending => return Poll::Pending,
            }
        }
    }

    /// Is an idle connection still good? Anything but silence means no: its end, or bytes nobody asked for.
    pub(crate) fn is_silent(&self) -> bool {
        let mut byte = [0u8; 1];
        if self.ended.get() || !self.input.borrow().is_empty() {
            return false;
        }
        match &*self.io.borrow() {
            Io::Plain(stream) => {
                matches!(stream.try_read(&mut byte), Err(error) if error.kind() == io::ErrorKind::WouldBlock)
            }
            Io::Other(_) => true,
        }
    }

    /// Writes everything that waits.
    pub(crate) async fn flush(&self) -> io::Result<()> {
        if self.output.borrow().is_empty() {
            return Ok(());
        }
        self.write_behind(&[]).await
    }

    /// Writes `data` behind everything that waits, at once or with the next flush.
    pub(crate) async fn write(&self, data: &[u8]) -> io::Result<()> {
        if data.len() <= COPIED {
            self.output.borrow_mut().extend_from_slice(data);
            if self.output.borrow().len() < 2 * COPIED { Ok(()) } else { self.flush().await }
        } else {
            self.write_behind(data).await
        }
    }

    async fn write_behind(&self, mut data: &[u8]) -> io::Result<()> {
        while !(self.output.borrow().is_empty() && data.is_empty()) {
            let written = poll_fn(|cx| self.poll_write(cx, data)).await?;
            if written == 0 {
                return Err(io::ErrorKind::WriteZero.into());
            }
            self.sent.set(self.sent.get() + u64::try_from(written).unwrap_or_default());
            let mut output = self.output.borrow_mut();
            let waiting = output.len().min(written);
            if waiting == output.len() {
                output.clear();
            } else {
                drop(output.drain(..waiting));
            }
            data = data.get(written - waiting..).unwrap_or_default();
        }
        poll_fn(|cx| match &mut *self.io.borrow_mut() {
            Io::Plain(_) => Poll::Ready(Ok(())),
            Io::Other(stream) => Pin::new(stream).poll_flush(cx),
        })
        .await
    }

    fn poll_write(&self, cx: &mut Context<'_>, data: &[u8]) -> Poll<io::Result<usize>> {
        let output = self.output.borrow();
        match &mut *self.io.borrow_mut() {
            Io::Plain(stream) if data.is_empty() => Pin::new(stream).poll_write(cx, &output),
            Io::Plain(stream) => Pin::new(stream).poll_write_vectored(cx, &[IoSlice::new(&output), IoSlice::new(data)]),
            Io::Other(stream) if output.is_empty() => Pin::new(stream).poll_write(cx, data),
            Io::Other(stream) => Pin::new(stream).poll_write(cx, &output),
        }
    }

    /// Ends our side; what the peer still sends is read and dropped until it ends or `patience` is over, so that its
    /// last answer is not lost to a reset.
    pub(crate) async fn linger(&self, patience: std::time::Duration) {
        let shut = poll_fn(|cx| match &mut *self.io.borrow_mut() {
            Io::Plain(stream) => Pin::new(stream).poll_shutdown(cx),
            Io::Other(stream) => Pin::new(stream).poll_shutdown(cx),
        });
        if shut.await.is_err() {
            return;
        }
        let rest = async {
            while let Ok(1..) = self.fill().await {
                self.input.borrow_mut().clear();
            }
        };
        // Whether it ended or took too long, the connection is over.
        let _ = tokio::time::timeout(patience, rest).await;
    }

    /// What was read is as good as left unread: when the connection is dropped its peer gets a reset, not an end. For a connection that is
    /// given up before anybody used what it said first; Envoy looks at that without taking it.
    pub(crate) fn reset_if_unused(&self) {
        if let (Io::Plain(stream), false) = (&*self.io.borrow(), self.input.borrow().is_empty()) {
            let _ = socket2::SockRef::from(stream).set_linger(Some(std::time::Duration::ZERO));
        }
    }

    /// Ends our side only.
    pub(crate) async fn shutdown(&self) -> io::Result<()> {
        self.flush().await?;
        poll_fn(|cx| match &mut *self.io.borrow_mut() {
            Io::Plain(stream) => Pin::new(stream).poll_shutdown(cx),
            Io::Other(stream) => Pin::new(stream).poll_shutdown(cx),
        })
        .await
    }
}

/// A stream some of whose bytes were read before.
pub(crate) struct Replay {
    input: BytesMut,
    io: Io,
}

impl AsyncRead for Replay {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if !this.input.is_empty() {
            let count = this.input.len().min(buffer.remaining());
            buffer.put_slice(&this.input.split_to(count));
            return Poll::Ready(Ok(()));
        }
        match &mut this.io {
            Io::Plain(stream) => Pin::new(stream).poll_read(cx, buffer),
            Io::Other(stream) => Pin::new(stream).poll_read(cx, buffer),
        }
    }
}

impl AsyncWrite for Replay {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, data: &[u8]) -> Poll<io::Result<usize>> {
        match &mut self.get_mut().io {
            Io::Plain(stream) => Pin::new(stream).poll_write(cx, data),
            Io::Other(stream) => Pin::new(stream).poll_write(cx, data),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.get_mut().io {
            Io::Plain(stream) => Pin::new(stream).poll_flush(cx),
            Io::Other(stream) => Pin::new(stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.get_mut().io {
            Io::Plain(stream) => Pin::new(stream).poll_shutdown(cx),
            Io::Other(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_waits_goes_before_what_is_written() {
        let (ours, mut theirs) = tokio::io::duplex(7);
        let wire = Wire::new(Io::Other(Box::new(ours)), BytesMut::new());
        wire.output().extend_from_slice(b"head ");
        let large = vec![b'x'; COPIED + 1];
        let writing = async {
            wire.write(b"small ").await.unwrap();
            wire.write(&large).await.unwrap();
            wire.shutdown().await.unwrap();
        };
        let mut seen = Vec::new();
        let reading = theirs.read_to_end(&mut seen);
        let ((), read) = tokio::join!(writing, reading);
        read.unwrap();
        assert_eq!(&seen[..11], b"head small ");
        assert_eq!(seen.len(), 11 + large.len());
    }

    #[tokio::test]
    async fn a_peer_that_went_is_seen_and_what_it_sent_is_kept() {
        let (ours, theirs) = tokio::io::duplex(64);
        let wire = Wire::new(Io::Other(Box::new(ours)), BytesMut::new());
        let mut theirs = theirs;
        tokio::io::AsyncWriteExt::write_all(&mut theirs, b"next").await.unwrap();
        drop(theirs);
        poll_fn(|cx| wire.poll_gone(cx)).await;
        assert_eq!(&wire.input()[..], b"next");
        assert!(wire.has_ended());
    }
}
