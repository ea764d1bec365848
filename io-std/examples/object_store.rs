//! SFTP on a store of objects that takes its time: 50 ms an answer, many answers at once. Users, their keys, rights
//! and allowances are in a SQLite database; so is a line for each operation.
//!
//! ```text
//! cargo run --release --example object_store -- store.db 127.0.0.1:2222 "$(cat ~/.ssh/id_ed25519.pub)"
//! sftp -P 2222 alice@127.0.0.1:/public/large /dev/null
//! sqlite3 store.db "SELECT line FROM audit"
//! ```

use std::collections::BTreeMap;
use std::error::Error;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use konko::core::authorized_keys::AuthorizedKeys;
use konko::server::users::{User, Users};
use konko::server::{Call, Programs, Server, ServerOptions, Service};
use konko::sftp::{
    Attrs, Audit, DirItem, FileSystem, FileType, OpenFlags, OperationSet, Pooled, Quota, Rules, ServerConfig,
    Status, StatusCode, Target, Workers, serve,
};
use rusqlite::{Connection, OptionalExtension, params};

/// Answers at once, of all sessions.
pub const AT_ONCE: usize = 64;

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

// ---- the store ----

/// What an object holds.
#[derive(Clone)]
pub enum Body {
    /// Bytes.
    Bytes(Arc<Vec<u8>>),
    /// So many bytes that each say where they are, and take no memory.
    Made(u64),
}

impl Body {
    fn len(&self) -> u64 {
        match self {
            Body::Bytes(bytes) => bytes.len() as u64,
            Body::Made(len) => *len,
        }
    }

    fn read(&self, offset: u64, room: &mut [u8]) -> usize {
        let n = room.len().min(self.len().saturating_sub(offset) as usize);
        match self {
            _ if n == 0 => {}
            Body::Bytes(bytes) => room[..n].copy_from_slice(&bytes[offset as usize..][..n]),
            Body::Made(_) => room[..n].iter_mut().zip(offset..).for_each(|(byte, at)| *byte = made(at)),
        }
        n
    }
}

/// The byte at a place of a made object.
pub fn made(at: u64) -> u8 {
    (at ^ at >> 8 ^ at >> 16) as u8
}

/// A client of an object store: keys are paths, objects are read in ranges and written as a whole.
pub struct ObjectStore {
    objects: Mutex<BTreeMap<Vec<u8>, Body>>,
    /// The way to the store and back; told how many are on it.
    travel: Box<dyn Fn(usize) + Send + Sync>,
    under_way: AtomicUsize,
    most: AtomicUsize,
}

impl ObjectStore {
    /// An empty store.
    pub fn new(travel: impl Fn(usize) + Send + Sync + 'static) -> Self {
        let zero = AtomicUsize::default;
        ObjectStore { objects: Mutex::default(), travel: Box::new(travel), under_way: zero(), most: zero() }
    }

    /// Puts an object there.
    pub fn put(&self, key: &str, body: Body) {
        lock(&self.objects).insert(key.as_bytes().to_vec(), body);
    }

    /// How many requests were under way at the busiest moment.
    pub fn most(&self) -> usize {
        self.most.load(Ordering::SeqCst)
    }

    /// One request to the store.
    fn ask<T>(&self, act: impl FnOnce(&mut BTreeMap<Vec<u8>, Body>) -> T) -> T {
        let now = self.under_way.fetch_add(1, Ordering::SeqCst) + 1;
        self.most.fetch_max(now, Ordering::SeqCst);
        (self.travel)(now);
        let answer = act(&mut lock(&self.objects));
        self.under_way.fetch_sub(1, Ordering::SeqCst);
        answer
    }
}

/// An open object.
pub enum Object {
    /// What is there.
    Read(Body),
    /// What is to be put there when it is closed: its key, and what came so far.
    Write(Vec<u8>, Mutex<Vec<u8>>),
}

fn attrs(body: &Body) -> Attrs {
    Attrs::new().with_size(body.len()).with_permissions(FileType::File.bits() | 0o644)
}

fn folder() -> Attrs {
    Attrs::new().with_permissions(FileType::Directory.bits() | 0o755)
}

/// What is below a folder, as the store lists it: by prefix.
fn below<'k>(key: &'k [u8], folder: &[u8]) -> Option<&'k [u8]> {
    key.strip_prefix(folder.strip_suffix(b"/").unwrap_or(folder))?.strip_prefix(b"/")
}

impl FileSystem for ObjectStore {
    type File = Object;
    type Dir = std::vec::IntoIter<Result<DirItem, Status>>;

    fn open(&self, path: &Target<'_>, flags: OpenFlags, _: &Attrs) -> Result<Object, Status> {
        if !flags.contains(OpenFlags::WRITE) {
            let found = self.ask(|objects| objects.get(path.as_bytes()).cloned());
            return found.map(Object::Read).ok_or(StatusCode::NO_SUCH_FILE.into());
        }
        // Objects are replaced, not changed.
        if !flags.contains(OpenFlags::CREATE | OpenFlags::TRUNCATE) || flags.contains(OpenFlags::READ) {
            return Err(StatusCode::OP_UNSUPPORTED.into());
        }
        Ok(Object::Write(path.to_vec(), Mutex::default()))
    }

    fn read(&self, file: &Object, offset: u64, room: &mut [u8]) -> Result<usize, Status> {
        let Object::Read(body) = file else { return Err(StatusCode::FAILURE.into()) };
        self.ask(|_| ());
        Ok(body.read(offset, room))
    }

    fn write(&self, file: &Object, offset: u64, data: &[u8]) -> Result<(), Status> {
        let Object::Write(_, parts) = file else { return Err(StatusCode::FAILURE.into()) };
        let (mut parts, start) = (lock(parts), offset as usize);
        let end = start.checked_add(data.len()).filter(|end| *end <= 1 << 30).ok_or(StatusCode::FAILURE)?;
        let len = parts.len().max(end);
        parts.resize(len, 0);
        parts[start..end].copy_from_slice(data);
        Ok(())
    }

    fn close(&self, file: Object) -> Result<(), Status> {
        if let Object::Write(key, parts) = file {
            let body = Body::Bytes(Arc::new(parts.into_inner().unwrap_or_else(PoisonError::into_inner)));
            self.ask(|objects| objects.insert(key, body));
        }
        Ok(())
    }

    fn stat(&self, path: &Target<'_>) -> Result<Attrs, Status> {
        self.ask(|objects| match objects.get(path.as_bytes()) {
            Some(body) => Ok(attrs(body)),
            None if **path == *b"/" || objects.keys().any(|key| below(key, path).is_some()) => Ok(folder()),
            None => Err(StatusCode::NO_SUCH_FILE.into()),
        })
    }

    fn fstat(&self, file: &Object) -> Result<Attrs, Status> {
        Ok(match file {
            Object::Read(body) => attrs(body),
            Object::Write(_, parts) => Attrs::new().with_size(lock(parts).len() as u64),
        })
    }

    fn opendir(&self, path: &Target<'_>) -> Result<Self::Dir, Status> {
        let mut entries = BTreeMap::new();
        self.ask(|objects| {
            for (key, body) in objects.iter() {
                let Some(rest) = below(key, path) else { continue };
                let name = rest.split(|b| *b == b'/').next().unwrap_or_default();
                entries.insert(name.to_vec(), if name == rest { attrs(body) } else { folder() });
            }
        });
        let entries = entries.into_iter().map(|(name, attrs)| Ok(DirItem::new(name, attrs)));
        Ok(entries.collect::<Vec<_>>().into_iter())
    }

    fn remove(&self, path: &Target<'_>) -> Result<(), Status> {
        self.ask(|objects| objects.remove(path.as_bytes()).map(drop).ok_or(StatusCode::NO_SUCH_FILE.into()))
    }
}

// ---- the database ----

/// Users with their keys, rights and allowances, and what they did.
#[derive(Clone)]
pub struct Database(Arc<Mutex<Connection>>);

impl Database {
    /// Opens or makes one; `:memory:` is in memory.
    pub fn open(path: &str) -> rusqlite::Result<Self> {
        let connection = Connection::open(path)?;
        // A line of the audit does not wait for the disk: a power cut may cost the last ones, and breaks nothing.
        connection.execute_batch(
            "PRAGMA journal_mode = WAL;
             PRAGMA synchronous = NORMAL;
             CREATE TABLE IF NOT EXISTS users (name TEXT PRIMARY KEY, key TEXT NOT NULL, may_write INTEGER NOT NULL,
                 max_written INTEGER NOT NULL);
             CREATE TABLE IF NOT EXISTS audit (user TEXT, operation TEXT, path BLOB, bytes INTEGER, status TEXT,
                 micros INTEGER, line TEXT);",
        )?;
        Ok(Database(Arc::new(Mutex::new(connection))))
    }

    /// Adds a user with a line of an authorized_keys file, or changes it.
    pub fn add(&self, name: &str, key: &str, may_write: bool, max_written: u64) -> rusqlite::Result<()> {
        let values = params![name, key, may_write, i64::try_from(max_written).unwrap_or(i64::MAX)];
        lock(&self.0).execute("INSERT OR REPLACE INTO users VALUES (?1, ?2, ?3, ?4)", values).map(drop)
    }

    /// The table that a connection is judged by.
    fn users(&self) -> Result<Users, Box<dyn Error>> {
        let mut users = Users::new();
        let connection = lock(&self.0);
        let mut rows = connection.prepare("SELECT name, key FROM users")?;
        for row in rows.query_map([], |row| Ok((row.get::<_, String>(0)?, row.get::<_, String>(1)?)))? {
            let (name, key) = row?;
            users.add(&name, User::new().keys(AuthorizedKeys::parse("the database", key.as_bytes())?))?;
        }
        Ok(users)
    }

    fn rights(&self, user: &str) -> rusqlite::Result<Option<(bool, i64)>> {
        let query = "SELECT may_write, max_written FROM users WHERE name = ?1";
        lock(&self.0).query_row(query, [user], |row| Ok((row.get(0)?, row.get(1)?))).optional()
    }

    fn audit(&self, user: &str, line: &konko::sftp::AuditLine<'_>) {
        let done = line.done;
        let (bytes, micros) = ((done.read + done.written) as i64, done.took.as_micros() as i64);
        let (operation, status) = (done.operation.name(), done.status.text());
        let values = params![user, operation, done.path, bytes, status, micros, line.to_string()];
        let stored = lock(&self.0).execute("INSERT INTO audit VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)", values);
        if let Err(error) = stored {
            eprintln!("{line} (not in the database: {error})");
        }
    }

    /// The lines of the audit.
    pub fn lines(&self) -> rusqlite::Result<Vec<String>> {
        let connection = lock(&self.0);
        let mut rows = connection.prepare("SELECT line FROM audit ORDER BY rowid")?;
        rows.query_map([], |row| row.get(0))?.collect()
    }
}

// ---- the server ----

/// One session: who may do what, how much, and what is written down of it.
fn session(call: &Call, store: &Arc<ObjectStore>, workers: &Workers, database: &Database) -> u32 {
    let user = call.user().to_owned();
    let Ok(Some((may_write, max_written))) = database.rights(&user) else { return 1 };
    let own = format!("/home/{user}");
    let rules = Rules::new().allow("/", OperationSet::reading());
    let rules = if may_write { rules.allow(own, OperationSet::ALL) } else { rules };
    let quota = Arc::new(Quota::new().max_written(max_written as u64));
    let (audited, to) = (user.clone(), database.clone());
    let audit = Audit::new(user.clone(), konko::clock(), move |line| to.audit(&audited, line));
    let mut files = Pooled::new(Arc::clone(store), workers)
        .layer(Arc::new(rules))
        .layer(Arc::clone(&quota) as Arc<_>)
        .layer(Arc::new(audit));
    // Room is kept for the answer of each read, a quarter of a MiB at most: for those that are under way, and as many
    // that wait for a worker or are on their way to the client.
    let config = ServerConfig::new().max_backlog((2 * AT_ONCE) << 18);
    let served = serve(&call.channel(), config, &mut files);
    eprintln!(
        "{user}: {} operations, {} bytes read, {} written",
        quota.operations(),
        quota.read(),
        quota.written()
    );
    u32::from(served.is_err())
}

/// Serves the store to the users of the database.
pub fn listen(addr: &str, store: Arc<ObjectStore>, database: Database) -> Result<Server, Box<dyn Error>> {
    let workers = Workers::new(AT_ONCE);
    let known = database.clone();
    let programs = Programs::new().subsystem("sftp", move |call| session(call, &store, &workers, &database));
    let programs = Arc::new(programs);
    let options = ServerOptions::with_new_key()?.methods(known.users()?.methods());
    Ok(Server::listen(addr, options, move |_| {
        // Who was added a moment ago is in; if the database cannot be read, nobody is.
        let users = known.users().unwrap_or_else(|_| Users::new());
        Service::new(Arc::new(users), Arc::clone(&programs))
    })?)
}

#[allow(dead_code, reason = "a test has a main of its own")]
fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [path, addr, key] = &arguments[..] else {
        return Err("object_store DATABASE ADDRESS PUBLIC-KEY".into());
    };
    let database = Database::open(path)?;
    database.add("alice", key, true, 1 << 30)?;
    let store = ObjectStore::new(|_| thread::sleep(Duration::from_millis(50)));
    store.put("/public/large", Body::Made(1 << 30));
    store.put("/public/hello", Body::Bytes(Arc::new(b"hello, world\n".to_vec())));
    let server = listen(addr, Arc::new(store), database)?;
    println!("listening on {}", server.local_addr());
    loop {
        thread::park();
    }
}
