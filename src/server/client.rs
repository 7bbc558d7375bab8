//! Whether the client that is to get the answer is still there.

use super::transaction::check_for_interrupts;
use pgrx::pg_sys;

/// Ends the session as the server does when it finds that its client has gone: nobody would hear of what comes
/// now. A host that was switched off is not seen before its connection times out, as tcp_keepalives_idle says;
/// behind a pooler it is the pooler that is there.
pub fn must_be_there() {
    // SAFETY: reads and sets variables of this backend, as the server's own check does.
    unsafe {
        // What has no client, such as a background worker, answers nobody.
        let has_client = pg_sys::whereToSendOutput == pg_sys::CommandDest::DestRemote;
        if has_client && !is_connected() {
            pg_sys::ClientConnectionLost = 1;
            pg_sys::InterruptPending = 1;
        }
    }
    check_for_interrupts();
}

/// May reset the latch.
#[cfg(not(feature = "pg14"))]
fn is_connected() -> bool {
    unsafe extern "C-unwind" {
        // libpq/libpq.h, which pgrx's bindings leave out.
        fn pq_check_connection() -> bool;
    }
    // SAFETY: with a port, the backend has a connection, and waits on it nowhere else meanwhile; an error of the
    // server's unwinds through the guard as from any function of pg_sys.
    unsafe {
        pg_sys::MyProcPort.is_null()
            || !pg_sys::WaitEventSetCanReportClosed()
            || pg_sys::ffi::pg_guard_ffi_boundary(|| pq_check_connection())
    }
}

/// A look at what comes next on the connection. It is not seen to be closed behind something that has come.
#[cfg(feature = "pg14")]
fn is_connected() -> bool {
    use std::ffi::c_int;
    use std::mem::ManuallyDrop;
    use std::net::TcpStream;
    use std::os::fd::FromRawFd;
    unsafe extern "C" {
        // libpq/libpq-be.h, which pgrx's bindings leave out: a port begins with its socket.
        static MyProcPort: *const c_int;
    }
    // SAFETY: the backend's own socket, which is not closed here. Nothing is asked of it but recv with MSG_PEEK,
    // which goes for any kind of stream, and never waits: the server has made it non-blocking.
    let socket = unsafe {
        let Some(&socket) = MyProcPort.as_ref() else { return true };
        ManuallyDrop::new(TcpStream::from_raw_fd(socket))
    };
    match socket.peek(&mut [0]) {
        Ok(bytes) => bytes > 0,
        Err(error) => error.kind() == std::io::ErrorKind::WouldBlock,
    }
}
