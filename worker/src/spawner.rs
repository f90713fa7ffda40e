//! Starting processes from a thread that lasts.
//!
//! A worker ends with the *thread* that has started it (PR_SET_PDEATHSIG, prctl(2)), and threads of a runtime come and go.

use std::io;
use std::sync::{OnceLock, mpsc};
use std::thread;

use tokio::process::{Child, Command};
use tokio::runtime::Handle;

struct Order {
    command: Command,
    /// The runtime that waits for its end.
    runtime: Handle,
    done: mpsc::SyncSender<io::Result<Child>>,
}

/// Starts a process that lasts as long as this one, or less.
pub(crate) fn spawn(command: Command) -> io::Result<Child> {
    static ORDERS: OnceLock<mpsc::Sender<Order>> = OnceLock::new();
    let orders = ORDERS.get_or_init(|| {
        let (orders, ordered) = mpsc::channel();
        // Without a thread nothing is ordered, which is an error below.
        let _ = thread::Builder::new().name("worker starter".into()).spawn(move || start_all(&ordered));
        orders
    });
    let (done, answer) = mpsc::sync_channel(1);
    let gone = || io::Error::other("the thread that starts workers could not be started");
    orders.send(Order { command, runtime: Handle::current(), done }).map_err(|_| gone())?;
    answer.recv().map_err(|_| gone())?
}

fn start_all(ordered: &mpsc::Receiver<Order>) {
    while let Ok(Order { mut command, runtime, done }) = ordered.recv() {
        let _inside = runtime.enter();
        // Who has ordered it waits for it.
        let _ = done.send(command.spawn());
    }
}
