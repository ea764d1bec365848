//! Servers that do everything wrong: what is fetched or sent is right, or it is an error.

mod property;
mod sftp;

use konko_core::crypto::HashAlgorithm;
use konko_core::provider;
use konko_core::sftp::transfer::*;
use konko_core::sftp::{Attrs, ClientConfig};
use proptest::prelude::*;
use sftp::drive::Local;
use sftp::fake::{Fake, Habits};
use sftp::pattern;

fn habits(len: usize) -> impl Strategy<Value = Habits> {
    let odd = (
        prop::option::weighted(0.2, 1usize..5),
        prop::option::weighted(0.1, 2usize..20),
        prop::option::weighted(0.2, 3u8..21),
        prop::option::weighted(0.2, (0usize..30, 0..len * 2 + 10)),
        prop::option::weighted(0.15, 0..len as u64 * 2 + 10),
        prop::option::weighted(0.1, 2usize..30),
        prop::option::weighted(0.1, 2usize..30),
        prop::option::weighted(0.1, 0..len as u64 + 1),
    );
    let whims = (any::<u64>(), prop_oneof![Just(0usize), 1usize..40_000], any::<bool>(), any::<bool>());
    let starves = prop::option::weighted(0.2, (3u8..21, 1usize..4));
    let late = (
        prop::option::weighted(0.3, (0u32..2, 0u32..2)),
        prop::option::weighted(0.2, 0..len * 2 + 10),
        any::<bool>(),
    );
    let manners =
        (late, any::<bool>(), any::<bool>(), prop_oneof![9 => Just(false), 1 => Just(true)], starves);
    (whims, odd, manners).prop_map(
        |((seed, most, short, reorder), odd, (late, mute, closes_first, noisy, starves))| {
            let (answers, hangs_up, refuses, changes, lies, repeats, strays, early_eof) = odd;
            let (modified, copies, writes_late) = late;
            let preamble = if noisy { b"hello\r\n".to_vec() } else { Vec::new() };
            Habits {
                seed,
                most,
                short,
                reorder,
                answers,
                hangs_up,
                refuses,
                changes,
                mute,
                lies,
                repeats,
                strays,
                preamble,
                early_eof,
                closes_first,
                starves,
                modified,
                copies,
                writes_late,
                twins: false,
                honest_of: copies.map(|_| &b"g"[..]),
            }
        },
    )
}

fn local(habits: Habits, file: Vec<u8>, sequential: bool) -> Local<Fake> {
    let (len, most) = (file.len(), habits.most);
    let mut far = Fake::new(habits);
    far.files.insert(b"f".to_vec(), file);
    let config = TransferConfig::new()
        .sequential(sequential)
        .request_len(Some(8192))
        .provider(Some(provider::rustcrypto()));
    let mut local = Local::with(far, config, ClientConfig::new().skip_preamble(16));
    // Each reply that a miserly server makes takes a round trip, and the WRITE of a copy another; twice,
    // where everything is read again.
    local.patience = 5_000 + 6 * len.checked_div(most).unwrap_or(0);
    local
}

/// Whether what came is the file as it was at some time, and as a whole.
fn is_right(came: &[u8], before: &[u8], habits: &Habits, after: &[u8]) -> bool {
    let end = came.len() as u64;
    // No size is told, or one that says nothing, as that of files that have more than it.
    let number = habits.starves.map(|(number, _)| number);
    let silent = habits.refuses == Some(8) || number == Some(8) || habits.answers.is_some();
    let untold = habits.mute || silent || habits.lies.is_some_and(|size| size <= end);
    // It has not changed, as far as FSTAT says.
    let stable = habits.modified.is_some_and(|(first, then)| first == then);
    // What an end that is a lie cuts off, nobody can know.
    let hidden = untold || stable || habits.copies.is_some();
    let believed = |file: &[u8]| {
        habits.early_eof.is_some_and(|at| hidden && end >= at.min(file.len() as u64))
            && file.starts_with(came)
    };
    // The same of a file that changes where reading has got to.
    let untold = untold || (stable && habits.lies.is_some());
    let cut = untold && habits.changes.is_some() && [before, after].iter().any(|file| file.starts_with(came));
    // A file that grows: at least what it had, and no byte that is not its own.
    let grown = habits.changes.is_some() && came.len() >= before.len() && after.starts_with(came);
    // A size that is a lie, and is believed when a reply ends at it.
    let lied = |file: &[u8]| habits.lies == Some(end) && file.starts_with(came);
    cut || grown || [before, after].iter().any(|file| came == *file || believed(file) || lied(file))
}

/// A get from a server with these habits.
#[derive(Clone, Debug)]
struct Get {
    habits: Habits,
    len: usize,
    ordered: bool,
    sequential: bool,
    hint: Option<u64>,
    verify: Verify,
}

impl Get {
    fn check(self) -> Result<(), TestCaseError> {
        let Get { habits, len, ordered, sequential, hint, verify } = self;
        let file = pattern(len);
        let mut l = local(habits.clone(), file.clone(), sequential);
        let options = DownloadOptions::new().ordered(ordered).size(hint).verify(verify);
        let job = l.transfers.download(b"f", options);
        l.run();
        let came = l.files.get(&job).cloned().unwrap_or_default();
        if let Ok(summary) = l.result(job) {
            let after = l.far.files.get(&b"f"[..]).cloned().unwrap_or_default();
            prop_assert_eq!(summary.bytes, came.len() as u64);
            prop_assert!(
                is_right(&came, &file, &habits, &after)
                    || (hint == Some(came.len() as u64) && file.starts_with(&came)),
                "{} of {} bytes, {:?}",
                came.len(),
                len,
                habits,
            );
            prop_assert!(!(ordered && l.disordered));
        }
        Ok(())
    }
}

fn put_is_right_or_an_error(
    habits: Habits,
    len: usize,
    sequential: bool,
    temporary: bool,
    preserve: bool,
) -> Result<(), TestCaseError> {
    let data = pattern(len);
    // Changes come with reads, of which there are none here.
    let mut l = local(habits.clone(), Vec::new(), sequential);
    let options = UploadOptions::new()
        .temporary(temporary.then(|| b"g.part".to_vec()))
        .attrs(preserve.then(|| Attrs::new().with_permissions(0o600)));
    let job = l.put("g", data.clone(), options);
    l.run();
    let written = l.far.files.get(&b"g"[..]);
    match l.result(job) {
        Ok(summary) => {
            prop_assert_eq!(summary.bytes, len as u64);
            prop_assert!(written == Some(&data), "{:?}", habits);
        }
        // What was there, which is nothing, is there still.
        Err(_) if temporary => prop_assert!(written.is_none() || written == Some(&data)),
        Err(_) => {}
    }
    Ok(())
}

fn copy_is_right_or_an_error(habits: Habits, len: usize, sequential: bool) -> Result<(), TestCaseError> {
    let file = pattern(len);
    let mut l = local(habits.clone(), file.clone(), sequential);
    let job = l.transfers.copy(b"f", b"g", UploadOptions::default());
    l.run();
    if l.result(job).is_ok() {
        let after = l.far.files[&b"f"[..]].clone();
        let came = &l.far.files[&b"g"[..]];
        // How much a server copied by itself that tells no size of it, nobody can know.
        let number = habits.starves.map(|(number, _)| number);
        let silent = habits.refuses == Some(17) || number == Some(17) || habits.answers.is_some();
        let untold = habits.mute || silent;
        if habits.copies.is_some() && untold && file.starts_with(came) {
            return Ok(());
        }
        prop_assert!(is_right(came, &file, &habits, &after), "{} of {}, {:?}", came.len(), len, habits);
    }
    Ok(())
}

#[test]
fn b6_where_no_size_is_told_the_word_for_the_end_is_all_there_is() {
    let miser = Habits { most: 147, changes: Some((7, 0)), lies: Some(0), ..Habits::default() };
    let refuses = Habits { refuses: Some(8), ..Habits::default() };
    let early = Habits { early_eof: Some(0), ..refuses.clone() };
    for habits in [Habits { seed: 26_468_918_804_741_014, ..miser }, early] {
        for (ordered, sequential) in [(false, false), (false, true), (true, false), (true, true)] {
            for (len, hint) in [(5832, Some(57_832)), (16_061, None)] {
                let verify = Verify::Size;
                Get { habits: habits.clone(), len, ordered, sequential, hint, verify }.check().unwrap();
            }
        }
    }
    let (seed, changes) = (8_271_777_485_945_151_381, Some((1, 0)));
    let habits = Habits { seed, short: true, reorder: true, changes, ..refuses };
    copy_is_right_or_an_error(habits, 26, false).unwrap();
}

#[test]
fn b6_a_server_that_gives_one_byte_a_reply_gets_its_time() {
    let habits = Habits { most: 1, ..Habits::default() };
    copy_is_right_or_an_error(habits, 166_310, true).unwrap();
}

proptest! {
    #![proptest_config(property::config(400))]

    #[test]
    fn u_10_a_get_is_right_or_an_error(
        (habits, len) in (0usize..200_000).prop_flat_map(|len| (habits(len), Just(len))),
        ordered: bool,
        sequential: bool,
        hint in prop::option::of(0u64..200_000),
        verify in prop_oneof![
            Just(Verify::Size), Just(Verify::Hash(HashAlgorithm::Sha256)), Just(Verify::Reread(HashAlgorithm::Sha1)),
        ],
    ) {
        Get { habits, len, ordered, sequential, hint, verify }.check()?;
    }

    #[test]
    fn u_10_a_put_is_right_or_an_error(
        (habits, len) in (0usize..200_000).prop_flat_map(|len| (habits(len), Just(len))),
        sequential: bool,
        temporary: bool,
        preserve: bool,
    ) {
        put_is_right_or_an_error(habits, len, sequential, temporary, preserve)?;
    }

    #[test]
    fn u_10_a_copy_through_this_side_is_right_or_an_error(
        (habits, len) in (0usize..200_000).prop_flat_map(|len| (habits(len), Just(len))),
        sequential: bool,
    ) {
        copy_is_right_or_an_error(habits, len, sequential)?;
    }
}
