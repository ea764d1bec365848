//! F-34: no freed memory still holds a private key after loading, generating and writing it.
//!
//! In a file of its own, because it needs its own allocator.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::{Cell, RefCell};

use konko_core::crypto::{Curve, SigningKey};
use konko_core::keys::{KeyKind, PrivateKey};
use konko_core::provider::rustcrypto;
use konko_core::{Rng, Seed};

const MARK: usize = 16;

thread_local! {
    static MARKS: RefCell<Vec<[u8; MARK]>> = const { RefCell::new(Vec::new()) };
    static WATCHING: Cell<bool> = const { Cell::new(false) };
    static LEAKS: Cell<usize> = const { Cell::new(0) };
}

/// Looks for the marks in each block before it is freed. Growing goes through here as well, since
/// the default `realloc` is allocate, copy, free.
struct Watcher;

unsafe impl GlobalAlloc for Watcher {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // Zeroed, so that what a block never held is not read as uninitialised.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        if WATCHING.try_with(|on| on.replace(false)).unwrap_or(false) {
            let bytes = unsafe { std::slice::from_raw_parts(block, layout.size()) };
            let found = MARKS.with(|marks| {
                marks.borrow().iter().any(|mark| bytes.windows(MARK).any(|window| window == mark))
            });
            LEAKS.with(|leaks| leaks.set(leaks.get() + usize::from(found)));
            WATCHING.with(|on| on.set(true));
        }
        unsafe { System.dealloc(block, layout) }
    }
}

#[global_allocator]
static WATCHER: Watcher = Watcher;

/// Counts freed blocks that hold a mark while `work` runs.
fn leaks(work: impl FnOnce()) -> usize {
    LEAKS.with(|leaks| leaks.set(0));
    WATCHING.with(|on| on.set(true));
    work();
    WATCHING.with(|on| on.set(false));
    LEAKS.with(Cell::get)
}

/// Pieces of the secret numbers, as they stand in a key and as big integers hold them.
fn marks(key: &PrivateKey) -> Vec<[u8; MARK]> {
    let numbers = match key.signing_key() {
        SigningKey::Ed25519(seed) => vec![&seed[..]],
        SigningKey::Ecdsa(_, d) => vec![d],
        SigningKey::Rsa { d, p, q, .. } => vec![d, p, q],
    };
    let forward = numbers.iter().map(|number| *number[4..].first_chunk::<MARK>().unwrap());
    let limbs = forward.clone().map(|mut mark| {
        mark.reverse();
        mark
    });
    forward.chain(limbs).collect()
}

fn rng() -> Rng {
    Rng::from_seed(&Seed::new([9; 32]))
}

#[test]
fn f34_freed_memory_holds_no_private_key() {
    let data =
        |name: &str| std::fs::read(format!("{}/tests/data/keys/{name}", env!("CARGO_MANIFEST_DIR"))).unwrap();
    let files = [
        "ed25519",
        "ecdsa256",
        "ecdsa521",
        "rsa",
        "rsa-pem",
        "rsa-pkcs8",
        "ecdsa384-pem",
        "ecdsa384-pkcs8",
        "openssl-ed25519",
        "enc-aes256-ctr",
        "enc-aes256-cbc",
        "enc-aes256-gcm",
        "enc-chacha20-poly1305",
        "enc-rsa",
    ];
    for name in files {
        let text = data(name);
        let load = || PrivateKey::load(&text, Some(b"konko test")).unwrap();
        let wanted = marks(&load());
        MARKS.with(|marks| marks.replace(wanted.clone()));
        // The watcher does find what is not wiped.
        assert_eq!(leaks(|| drop(wanted[0].to_vec())), 1);
        assert_eq!(leaks(|| drop(load())), 0, "{name}: load");
        let key = load();
        assert_eq!(leaks(|| drop(key.to_openssh(None, &mut rng()).unwrap())), 0, "{name}: write");
        let sealed = || drop(key.to_openssh(Some((b"pass", 1)), &mut rng()).unwrap());
        assert_eq!(leaks(sealed), 0, "{name}: write encrypted");
        println!(
            "{name}: {} freed by the provider's signer",
            leaks(|| drop(key.key_pair(rustcrypto()).unwrap()))
        );
    }
    // RSA is not here: its generation leaves copies inside the big-integer crates.
    for kind in [KeyKind::Ed25519, KeyKind::Ecdsa(Curve::P256), KeyKind::Ecdsa(Curve::P521)] {
        let make = || PrivateKey::generate(kind, &mut rng()).unwrap();
        let wanted = marks(&make());
        MARKS.with(|marks| marks.replace(wanted));
        assert_eq!(leaks(|| drop(make())), 0, "{kind:?}: generate");
    }
}
