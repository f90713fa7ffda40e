//! The desktop notification: on a real session bus, shown by a notification service of this test's own.

use std::collections::HashMap;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use std::sync::Mutex;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::{Duration, Instant};

use zbus::OwnedVariant;

use crate::desk::{ANNA, BEN, shared_world};
use crate::justify::{justify, with_reasons};
use crate::world::{World, binary, skipped, wait_until};

/// One notification, and when it came.
pub(crate) struct Shown {
    at: Instant,
    pub(crate) title: String,
    pub(crate) body: String,
}

/// A desktop that understands markup.
struct Desktop(Mutex<Sender<Shown>>);

#[zbus::interface(name = "org.freedesktop.Notifications")]
impl Desktop {
    fn get_capabilities(&self) -> Vec<String> {
        vec!["body".to_owned(), "body-markup".to_owned()]
    }

    #[allow(clippy::too_many_arguments)] // as the specification has it
    fn notify(
        &self,
        application: &str,
        _replaces: u32,
        _icon: &str,
        title: String,
        body: String,
        _actions: Vec<String>,
        _hints: HashMap<String, OwnedVariant>,
        _expires: i32,
    ) -> u32 {
        assert_eq!(application, "Vitrine");
        let shown = Shown { at: Instant::now(), title, body };
        let _ = self.0.lock().expect("the sender").send(shown);
        1
    }
}

/// The session of a user: his bus, his desktop, and the helper.
pub(crate) struct Session {
    processes: Vec<Child>,
    pub(crate) shown: Receiver<Shown>,
}

impl Drop for Session {
    fn drop(&mut self) {
        for process in self.processes.iter_mut().rev() {
            let _ = process.kill();
            let _ = process.wait();
        }
    }
}

pub(crate) fn session(world: &World, uid: u32, locale: &str) -> Option<Session> {
    let socket = world.path(&format!("ws/work/bus-{uid}"));
    let address = format!("unix:path={}", socket.display());
    let quiet = |command: &mut Command| {
        command.uid(uid).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn()
    };
    // As the session's own, but that this test, which is root, may serve there, too.
    let config = world.path(&format!("etc/bus-{uid}"));
    let text = format!(
        "<busconfig><type>session</type><listen>{address}</listen><auth>EXTERNAL</auth><policy context=\"default\">\
         <allow user=\"*\"/><allow own=\"*\"/><allow send_destination=\"*\" eavesdrop=\"true\"/>\
         <allow eavesdrop=\"true\"/></policy></busconfig>"
    );
    std::fs::write(&config, text).expect("the settings of the bus");
    let mut bus = Command::new("dbus-daemon");
    let Ok(bus) = quiet(bus.args(["--nofork", "--config-file"]).arg(&config)) else {
        skipped("it needs dbus-daemon");
        return None;
    };
    // The socket is there a moment before somebody listens.
    wait_until("session bus", || UnixStream::connect(&socket).ok().map(drop));
    let (tell, shown) = channel();
    let serve_at = address.clone();
    let (begin, begun) = channel();
    std::thread::spawn(move || {
        zbus::block_on(async {
            let desktop = Desktop(Mutex::new(tell));
            let builder = zbus::connection::Builder::address(serve_at.as_str()).name("org.freedesktop.Notifications");
            let _serving =
                builder.serve_at("/org/freedesktop/Notifications", desktop).build().await.expect("a desktop");
            begin.send(()).expect("the test");
            std::future::pending::<()>().await;
        });
    });
    begun.recv_timeout(Duration::from_secs(20)).expect("a desktop");
    let mut helper = Command::new(binary("vitrine"));
    helper.args(["notify", "--every", "2", "--config"]).arg(world.path("etc/agent.toml"));
    let helper = quiet(helper.env("DBUS_SESSION_BUS_ADDRESS", &address).env("LC_ALL", locale)).expect("the helper");
    Some(Session { processes: vec![bus, helper], shown })
}

#[test]
fn a_block_is_on_the_desktop_within_a_second_in_the_users_language_and_no_markup() {
    let Some(world) = shared_world() else { return };
    let Some(anna) = session(&world, ANNA, "de_DE.UTF-8") else { return };
    let name = "KP3_<b>a<b> & \u{202e}gpj.jpg";
    let other = crate::world::picture("art_se__mark").expect("a picture");
    std::fs::copy(other, world.path("ws/masters").join(name)).expect("a master");
    // The helper listens once it shows something.
    let heard = wait_until("first notification", || {
        assert!(!world.sh_as("cp ws/masters/KP3_* usb/", Some(ANNA)).succeeded);
        anna.shown.recv_timeout(Duration::from_millis(500)).ok()
    });
    assert!(heard.title.contains("darf nicht nach") && heard.title.contains("<b>a<b> & "), "{}", heard.title);
    assert!(heard.body.contains("&lt;b&gt;a&lt;b&gt; &amp; ") && !heard.body.contains('<'), "{}", heard.body);
    assert!(!heard.title.contains('\u{202e}') && !heard.body.contains('\u{202e}'));

    // What followed in the two seconds comes together. Then one alone is there at once.
    while anna.shown.recv_timeout(Duration::from_secs(4)).is_ok() {}
    let began = Instant::now();
    assert!(!world.sh_as("cp ws/masters/KP1_0001.jpg usb/alone", Some(ANNA)).succeeded);
    let alone = anna.shown.recv_timeout(Duration::from_secs(10)).expect("a notification");
    let took = alone.at.duration_since(began);
    eprintln!("from the start of cp to the notification: {took:?}");
    assert!(took < Duration::from_secs(1), "{took:?}");
    assert!(!alone.title.contains("weitere"), "{}", alone.title);

    // Many within the two seconds are one notification that says how many.
    for number in 0..5 {
        assert!(!world.sh_as(&format!("cp ws/masters/KP2_0001.jpg usb/{number}"), Some(ANNA)).succeeded);
    }
    let together = anna.shown.recv_timeout(Duration::from_secs(10)).expect("a notification");
    assert!(together.title.contains("weitere"), "{}", together.title);
    assert!(together.at.duration_since(alone.at) > Duration::from_millis(1900));
}

#[test]
fn who_may_give_a_reason_is_told_how_on_the_desktop() {
    let Some(world) = with_reasons(World::builder(), 10.0) else { return };
    let Some(anna) = session(&world, ANNA, "en_GB.UTF-8") else { return };
    let copy = || world.sh_as("cp -f ws/masters/KP1_0001.jpg share/courier/", Some(ANNA)).succeeded;
    let heard = wait_until("notification", || {
        assert!(!copy());
        anna.shown.recv_timeout(Duration::from_millis(500)).ok()
    });
    let command = heard.body.split_once("vitrine justify ").expect("the command").1;
    let id = command.split(' ').next().expect("an ID");
    assert!(justify(&world, ANNA, id).contains("KP1_0001.jpg may go to courier"), "{}", heard.body);
    assert!(copy());
}

#[test]
fn nobody_is_notified_of_what_another_tried() {
    let Some(world) = shared_world() else { return };
    let Some(ben) = session(&world, BEN, "en_GB.UTF-8") else { return };
    let hears = || {
        assert!(!world.sh_as("cp ws/masters/KP2_0001.jpg share/web/", Some(BEN)).succeeded);
        ben.shown.recv_timeout(Duration::from_millis(500)).ok()
    };
    wait_until("notification of Ben's", hears);
    while ben.shown.recv_timeout(Duration::from_secs(4)).is_ok() {}
    assert!(!world.sh_as("cp ws/masters/KP1_0001.jpg usb/", Some(ANNA)).succeeded);
    world.recorded("Anna's", |transfer| crate::world::is_refused(transfer, "KP1_0001.jpg", "/usb"));
    assert!(ben.shown.try_recv().is_err());
    let heard = wait_until("another of Ben's", hears);
    assert!(heard.title.contains("KP2_0001.jpg may not go to website"), "{}", heard.title);
    assert!(heard.body.contains("at most 6 megapixels") && heard.body.contains("vitrine export "), "{}", heard.body);
}
