//! The listeners' way from a running process to a new one (docs/deploying.md, "Upgrade without a restart").
//!
//! The new process (`--upgrade`) reads its configuration first and asks for the listeners then, at `--upgrade-socket`;
//! SIGQUIT makes the old one send them there (Pingora's transfer of file descriptors). Both accept until the new one
//! says that it serves; only then does the old one stop accepting and drain. Whatever goes wrong before that moment
//! leaves the old process as it was. It must never close a listener before somebody else answers it.
use std::{
    fs, io,
    os::{
        linux::net::SocketAddrExt,
        unix::{
            fs::{FileTypeExt, MetadataExt, PermissionsExt},
            net::{SocketAddr, UnixDatagram},
        },
    },
    path::{Path, PathBuf},
    pin::pin,
    sync::{Arc, Mutex, OnceLock, PoisonError},
    time::Duration,
};

use async_trait::async_trait;
use pingora::{
    server::{Fds, ListenFds, ShutdownWatch},
    services::{Service as Serves, listening::Service},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{UnixListener, UnixStream},
    sync::Notify,
};

use super::{front::Front, health::PythonState, state::Edge};

/// How long the old process waits for the new one to ask.
const ASKED_WITHIN: Duration = Duration::from_secs(10);
/// How long after that for it to serve.
const SERVES_WITHIN: Duration = Duration::from_secs(10);
/// How long the new process lets its listeners start before it says that it serves.
const STARTED: Duration = Duration::from_millis(100);
/// How long it waits to know Python, so that native routes are native from the first request on.
const KNOWS_PYTHON_WITHIN: Duration = Duration::from_secs(3);

/// Why the listeners were not handed over.
#[derive(Debug, thiserror::Error)]
pub enum UpgradeError {
    #[error("no --upgrade-socket was given")]
    NoSocket,
    #[error("{0}: no folder for a socket, or something else is there")]
    Place(PathBuf),
    #[error("no new process asked for the listeners within {0:?}")]
    NotAsked(Duration),
    #[error("{0}: not a socket of this user")]
    Foreign(PathBuf),
    #[error("the listeners were not sent: {0}")]
    NotSent(String),
    #[error("the listeners were not received: {0} (was SIGQUIT sent to the running process?)")]
    NotReceived(String),
    #[error("the new process did not say that it serves within {0:?}")]
    NotServing(Duration),
    #[error("{0}")]
    Io(#[from] io::Error),
}

/// The listeners as Pingora keeps them, once the service has started.
pub(super) type Listeners = Arc<OnceLock<ListenFds>>;

/// Where the new process says that it serves.
fn ready_path(socket: &Path) -> PathBuf {
    let mut path = socket.as_os_str().to_owned();
    path.push(".ready");
    path.into()
}

fn check_place(socket: &Path) -> Result<(), UpgradeError> {
    let folder = socket.parent().is_some_and(|parent| parent.as_os_str().is_empty() || parent.is_dir());
    let other = fs::symlink_metadata(socket).is_ok_and(|found| !found.file_type().is_socket());
    if folder && !other { Ok(()) } else { Err(UpgradeError::Place(socket.to_owned())) }
}

/// This process' user, as files see it.
fn own_uid() -> io::Result<u32> {
    Ok(fs::metadata("/proc/self")?.uid())
}

// ---------------------------------------------------------------- the new process

/// Asks the running process for its listeners. Blocks, at most some seconds.
pub(super) fn receive(socket: Option<&Path>) -> Result<Fds, UpgradeError> {
    let socket = socket.ok_or(UpgradeError::NoSocket)?;
    check_place(socket)?;
    tracing::info!(socket = %socket.display(), "asking the running process for its listeners");
    let mut received = Fds::new();
    let path = socket.to_string_lossy();
    received.get_from_sock(&*path).map_err(|error| UpgradeError::NotReceived(error.to_string()))?;
    let (names, _) = received.serialize();
    tracing::info!(listeners = ?names, "listeners received");
    Ok(received)
}

/// The edge's service: starts with the received listeners, and lets others see the table.
pub(super) struct Handed {
    pub(super) service: Service<Front>,
    pub(super) edge: Arc<Edge>,
    pub(super) listeners: Listeners,
    /// taken over from a running process
    pub(super) received: Option<Mutex<Fds>>,
    /// no connection is taken before signals have their handlers
    pub(super) watched: Arc<Notify>,
}

#[async_trait]
impl Serves for Handed {
    async fn start_service(&mut self, fds: Option<ListenFds>, shutdown: ShutdownWatch, listeners_per_fd: usize) {
        self.watched.notified().await;
        let upgrading = self.received.is_some();
        if let Some(table) = &fds {
            if let Some(received) = self.received.take() {
                *table.lock() = received.into_inner().unwrap_or_else(PoisonError::into_inner);
            }
            let _ = self.listeners.set(table.clone());
        }
        let edge = self.edge.clone();
        // where a listener cannot be made, Pingora panics here
        let _fatal = ExitOnPanic;
        let mut serving = pin!(Serves::start_service(&mut self.service, fds, shutdown, listeners_per_fd));
        tokio::select! {
            biased;
            () = &mut serving => return,
            () = tokio::time::sleep(STARTED) => {}
        }
        tokio::spawn(async move { tell(&edge, upgrading).await });
        serving.await;
    }

    fn name(&self) -> &str {
        Serves::name(&self.service)
    }

    fn threads(&self) -> Option<usize> {
        Serves::threads(&self.service)
    }
}

/// A process without listeners is of no use, and would look alive.
struct ExitOnPanic;

impl Drop for ExitOnPanic {
    fn drop(&mut self) {
        if std::thread::panicking() {
            tracing::error!("the listeners did not start");
            std::process::exit(3);
        }
    }
}

/// The new process serves: says so to the old one, and to systemd.
async fn tell(edge: &Edge, upgrading: bool) {
    if upgrading {
        let known = async {
            while edge.python.is_some() && edge.python_health.view().state != PythonState::Up {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        let _ = tokio::time::timeout(KNOWS_PYTHON_WITHIN, known).await;
        match say_ready(edge).await {
            Ok(()) => tracing::info!("serving, the old process was told"),
            Err(error) => tracing::error!(%error, "serving, but the old process could not be told: stop it by SIGTERM"),
        }
    }
    if let Err(error) = notify_systemd(std::env::var_os("NOTIFY_SOCKET").map(PathBuf::from).as_deref()) {
        tracing::warn!(%error, "systemd could not be told");
    }
}

async fn say_ready(edge: &Edge) -> Result<(), UpgradeError> {
    let socket = edge.config.upgrade_socket.as_deref().ok_or(UpgradeError::NoSocket)?;
    let mut stream = UnixStream::connect(ready_path(socket)).await?;
    stream.write_all(format!("{}\n", std::process::id()).as_bytes()).await?;
    Ok(())
}

/// `Type=notify`: ready, and from now on this is the main process.
fn notify_systemd(socket: Option<&Path>) -> io::Result<()> {
    let Some(socket) = socket else { return Ok(()) };
    let message = format!("MAINPID={}\nREADY=1\n", std::process::id());
    let name = socket.to_string_lossy();
    let address = match name.strip_prefix('@') {
        Some(name) => SocketAddr::from_abstract_name(name)?,
        None => SocketAddr::from_pathname(socket)?,
    };
    UnixDatagram::unbound()?.send_to_addr(message.as_bytes(), &address)?;
    Ok(())
}

// ---------------------------------------------------------------- the old process

/// Sends the listeners to the process that asks for them and waits until it serves; its process id.
pub(super) async fn hand_over(edge: &Edge, listeners: &Listeners) -> Result<u32, UpgradeError> {
    let socket = edge.config.upgrade_socket.clone().ok_or(UpgradeError::NoSocket)?;
    let uid = own_uid()?;
    let ready_at = ready_path(&socket);
    check_place(&ready_at)?;
    let _ = fs::remove_file(&ready_at);
    let ready = UnixListener::bind(&ready_at)?;
    let _gone = Remove(ready_at.clone());
    fs::set_permissions(&ready_at, fs::Permissions::from_mode(0o600))?;

    let asked = async {
        loop {
            match fs::symlink_metadata(&socket) {
                Ok(found) if found.file_type().is_socket() && found.uid() == uid => return Ok(()),
                Ok(_) => return Err(UpgradeError::Foreign(socket.clone())),
                Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
            }
        }
    };
    tokio::time::timeout(ASKED_WITHIN, asked).await.map_err(|_| UpgradeError::NotAsked(ASKED_WITHIN))??;

    let table = listeners.get().cloned().ok_or_else(|| UpgradeError::NotSent("not listening yet".to_owned()))?;
    let path = socket.to_string_lossy().into_owned();
    // tries for some seconds: a socket that nobody listens on may be left from an earlier attempt
    let sent = tokio::task::spawn_blocking(move || table.lock().send_to_sock(path.as_str())).await;
    let sent = sent.map_err(|_| UpgradeError::NotSent("a fault".to_owned()))?;
    sent.map_err(|error| UpgradeError::NotSent(error.to_string()))?;

    let said = async {
        loop {
            let (mut stream, _) = ready.accept().await?;
            if stream.peer_cred()?.uid() != uid {
                continue;
            }
            let mut text = [0; 16];
            let read = stream.read(&mut text).await?;
            let pid = text.get(..read).and_then(|text| std::str::from_utf8(text).ok()?.trim().parse().ok());
            if let Some(pid) = pid {
                return Ok::<u32, UpgradeError>(pid);
            }
        }
    };
    tokio::time::timeout(SERVES_WITHIN, said).await.map_err(|_| UpgradeError::NotServing(SERVES_WITHIN))?
}

/// Removes a file at the end.
struct Remove(PathBuf);

impl Drop for Remove {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn systemd_is_told_who_the_main_process_is() {
        assert!(notify_systemd(None).is_ok());
        let path = std::env::temp_dir().join(format!("litellm-edge-notify-{}", std::process::id()));
        let told = format!("MAINPID={}\nREADY=1\n", std::process::id());
        let mut text = [0; 100];
        let socket = UnixDatagram::bind(&path).unwrap();
        notify_systemd(Some(&path)).unwrap();
        let length = socket.recv(&mut text).unwrap();
        fs::remove_file(&path).unwrap();
        assert_eq!(&text[..length], told.as_bytes());
        let name = format!("litellm-edge-notify-{}", std::process::id());
        let socket = UnixDatagram::bind_addr(&SocketAddr::from_abstract_name(&name).unwrap()).unwrap();
        notify_systemd(Some(Path::new(&format!("@{name}")))).unwrap();
        assert_eq!(socket.recv(&mut text).unwrap(), told.len());
    }

    #[test]
    fn a_place_that_is_no_place_is_refused() {
        let folder = std::env::temp_dir();
        assert!(check_place(&folder.join("upgrade.sock")).is_ok());
        assert!(check_place(&folder.join("no-such-folder/upgrade.sock")).is_err());
        assert!(check_place(&folder).is_err(), "a folder is no socket");
        assert!(matches!(receive(None), Err(UpgradeError::NoSocket)));
    }
}
