//! A server that misbehaves as it is told, and remembers what it was asked.

use std::collections::{BTreeMap, VecDeque};

use konko_core::wire::{Reader, Sink};

use super::packet;

/// What is wrong with it.
#[derive(Clone, Debug, Default)]
pub struct Habits {
    /// Seed of its whims.
    pub seed: u64,
    /// READs get at most so many bytes; 0: all.
    pub most: usize,
    /// READs get a random part.
    pub short: bool,
    /// Replies come in any order.
    pub reorder: bool,
    /// Requests beyond so many outstanding are never answered.
    pub answers: Option<usize>,
    /// Hangs up when more are outstanding.
    pub hangs_up: Option<usize>,
    /// This request (by number) is refused with FAILURE.
    pub refuses: Option<u8>,
    /// The file changes when so many READs were answered: its new length.
    pub changes: Option<(usize, usize)>,
    /// No attributes at all in the replies to STAT and FSTAT.
    pub mute: bool,
    /// What FSTAT says of the size.
    pub lies: Option<u64>,
    /// Every so many replies, one comes twice, or with an unknown number.
    pub repeats: Option<usize>,
    pub strays: Option<usize>,
    /// Text before VERSION.
    pub preamble: Vec<u8>,
    /// Says EOF with the data of the next READ still to come: an early end.
    pub early_eof: Option<u64>,
    /// CLOSE overtakes what came before it.
    pub closes_first: bool,
    /// This request (by number), of READs and WRITEs those of the first byte, is never answered so many times.
    pub starves: Option<(u8, usize)>,
    /// When a file was modified: at first, and once FSTAT was answered.
    pub modified: Option<(u32, u32)>,
    /// Has copy-data, and copies so many bytes at most.
    pub copies: Option<usize>,
    /// Gives a number that is in use when two files are open, as Erlang's server does.
    pub twins: bool,
    /// The size of this file is true all the same.
    pub honest_of: Option<&'static [u8]>,
    /// What is written is in the file when that is closed.
    pub writes_late: bool,
}

/// A file that never ends, and that no request is starved of.
pub const BUSY: &[u8] = b"busy";

/// What is open, the newest first.
#[derive(Default)]
struct Handles(Vec<(u32, Vec<u8>)>, u32);

impl Handles {
    fn add(&mut self, path: Vec<u8>, twins: bool) -> u32 {
        self.1 += 1;
        let free = |next, taken: &(u32, Vec<u8>)| if taken.0 <= next { taken.0 + 1 } else { next };
        let number = if twins { self.0.iter().fold(0, free) } else { self.1 };
        self.0.insert(0, (number, path));
        number
    }

    fn get(&self, number: &u32) -> Option<&Vec<u8>> {
        self.0.iter().find(|(n, _)| n == number).map(|(_, path)| path)
    }

    fn remove(&mut self, number: &u32) -> Option<Vec<u8>> {
        let at = self.0.iter().position(|(n, _)| n == number)?;
        Some(self.0.remove(at).1)
    }
}

#[derive(Default)]
pub struct Fake {
    pub habits: Habits,
    pub files: BTreeMap<Vec<u8>, Vec<u8>>,
    /// Written, and not in its file yet.
    late: BTreeMap<Vec<u8>, Vec<u8>>,
    handles: Handles,
    input: Vec<u8>,
    /// Not answered yet.
    queue: VecDeque<(u8, u32, Vec<u8>)>,
    pub out: Vec<u8>,
    pub gone: bool,
    pub reads: usize,
    replies: usize,
    dice: u64,
    pub peak: usize,
    /// Every request: number.
    pub log: Vec<u8>,
}

impl Fake {
    pub fn new(habits: Habits) -> Self {
        let dice = habits.seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
        Fake { habits, dice, ..Fake::default() }
    }

    fn roll(&mut self, n: usize) -> usize {
        self.dice ^= self.dice << 13;
        self.dice ^= self.dice >> 7;
        self.dice ^= self.dice << 17;
        (self.dice >> 33) as usize % n.max(1)
    }

    /// Takes bytes, and answers what it likes.
    pub fn receive(&mut self, bytes: &[u8]) {
        self.input.extend_from_slice(bytes);
        while let Some(head) = self.input.first_chunk::<4>() {
            let end = 4 + u32::from_be_bytes(*head) as usize;
            if self.input.len() < end {
                break;
            }
            let message: Vec<u8> = self.input.drain(..end).skip(4).collect();
            if message[0] == 1 {
                let mut fields = vec![0, 0, 0, 3];
                if self.habits.copies.is_some() {
                    fields.put_string(b"copy-data");
                    fields.put_string(b"1");
                }
                let version = packet(2, &fields);
                self.out.extend_from_slice(&self.habits.preamble.clone());
                self.out.extend_from_slice(&version);
                continue;
            }
            let id = u32::from_be_bytes(message[1..5].try_into().unwrap());
            self.log.push(message[0]);
            if self.habits.answers.is_some_and(|n| self.queue.len() >= n) {
                continue;
            }
            if self.is_starved(message[0], &message[5..]) {
                continue;
            }
            self.queue.push_back((message[0], id, message[5..].to_vec()));
            self.peak = self.peak.max(self.queue.len());
            if self.habits.hangs_up.is_some_and(|n| self.queue.len() > n) {
                self.gone = true;
                return;
            }
        }
    }

    fn is_starved(&mut self, number: u8, fields: &[u8]) -> bool {
        let mut r = Reader::new(fields);
        let about = match number {
            4 | 5 | 6 | 8 | 10 => self.handles.get(&handle(&mut r)).cloned().unwrap_or_default(),
            _ => r.string().unwrap().to_vec(),
        };
        // Not the one byte that tells whether a file can be read at all.
        let first = !matches!(number, 5 | 6) || (r.u64() == Ok(0) && r.u32() != Ok(1));
        match &mut self.habits.starves {
            Some((which, times)) if *which == number && *times > 0 && first && about != BUSY => {
                *times -= 1;
                true
            }
            _ => false,
        }
    }

    /// Answers everything that is waiting.
    pub fn work(&mut self) {
        if self.habits.closes_first {
            self.queue.make_contiguous().sort_by_key(|(n, id, _)| (*n != 4, *id));
        }
        let mut replies = Vec::new();
        while let Some((number, id, fields)) = self.queue.pop_front() {
            let reply = self.answer(number, id, &fields);
            replies.push(reply);
        }
        if self.habits.reorder {
            for i in (1..replies.len()).rev() {
                let j = self.roll(i + 1);
                replies.swap(i, j);
            }
        }
        for reply in replies {
            self.replies += 1;
            self.out.extend_from_slice(&reply);
            if self.habits.repeats.is_some_and(|n| self.replies.is_multiple_of(n)) {
                self.out.extend_from_slice(&reply);
            }
            if self.habits.strays.is_some_and(|n| self.replies.is_multiple_of(n)) {
                self.out.extend_from_slice(&status(0xffff_fff0, 0));
            }
        }
    }

    fn answer(&mut self, number: u8, id: u32, fields: &[u8]) -> Vec<u8> {
        if self.habits.refuses == Some(number) {
            return status(id, 4);
        }
        let mut r = Reader::new(fields);
        match number {
            3 => {
                let path = r.string().unwrap().to_vec();
                let flags = r.u32().unwrap();
                if flags & 0x10 != 0 || (flags & 8 != 0 && !self.files.contains_key(&path)) {
                    self.files.insert(path.clone(), Vec::new());
                    self.late.remove(&path);
                }
                if !self.files.contains_key(&path) {
                    return status(id, 2);
                }
                let number = self.handles.add(path, self.habits.twins);
                let mut f = id.to_be_bytes().to_vec();
                f.put_string(&number.to_be_bytes());
                packet(102, &f)
            }
            4 => {
                let closed = self.handles.remove(&handle(&mut r));
                if let Some((path, data)) = closed.as_ref().and_then(|path| self.late.remove_entry(path)) {
                    self.files.insert(path, data);
                }
                status(id, if closed.is_some() { 0 } else { 4 })
            }
            5 => self.read(id, &mut r),
            6 => {
                let Some(path) = self.handles.get(&handle(&mut r)).cloned() else { return status(id, 4) };
                let (offset, data) = (r.u64().unwrap() as usize, r.string().unwrap());
                let now = self.files.entry(path.clone()).or_default();
                let file = match self.habits.writes_late {
                    true => self.late.entry(path).or_insert_with(|| now.clone()),
                    false => now,
                };
                file.resize(file.len().max(offset + data.len()), 0);
                file[offset..][..data.len()].copy_from_slice(data);
                status(id, 0)
            }
            8 => {
                let path = self.handles.get(&handle(&mut r)).cloned();
                self.attrs(id, path)
            }
            17 => {
                let path = r.string().unwrap().to_vec();
                self.attrs(id, Some(path))
            }
            10 => status(id, 0),
            13 => {
                let gone = self.files.remove(r.string().unwrap()).is_some();
                status(id, if gone { 0 } else { 2 })
            }
            18 => {
                let (from, to) = (r.string().unwrap().to_vec(), r.string().unwrap().to_vec());
                match self.files.remove(&from) {
                    Some(data) => {
                        self.files.insert(to, data);
                        status(id, 0)
                    }
                    None => status(id, 2),
                }
            }
            200 if self.habits.copies.is_some() => self.copy(id, &mut r),
            _ => status(id, 8),
        }
    }

    fn copy(&mut self, id: u32, r: &mut Reader<'_>) -> Vec<u8> {
        assert_eq!(r.string().unwrap(), b"copy-data");
        let from = self.handles.get(&handle(r)).unwrap().clone();
        r.u64().unwrap();
        r.u64().unwrap();
        let to = self.handles.get(&handle(r)).unwrap().clone();
        let mut data = self.files[&from].clone();
        data.truncate(self.habits.copies.unwrap());
        self.files.insert(to, data);
        status(id, 0)
    }

    fn attrs(&mut self, id: u32, path: Option<Vec<u8>>) -> Vec<u8> {
        let honest = self.habits.honest_of.is_some() && path.as_deref() == self.habits.honest_of;
        let Some(size) = path.and_then(|p| self.files.get(&p)).map(|d| d.len() as u64) else {
            return status(id, 2);
        };
        let mut f = id.to_be_bytes().to_vec();
        if self.habits.mute {
            f.put_u32(0);
        } else {
            let modified = self.habits.modified.as_mut().map(|(now, later)| std::mem::replace(now, *later));
            f.put_u32(if modified.is_some() { 9 } else { 1 });
            f.put_u64(self.habits.lies.filter(|_| !honest).unwrap_or(size));
            if let Some(modified) = modified {
                f.put_u32(modified);
                f.put_u32(modified);
            }
        }
        packet(105, &f)
    }

    fn read(&mut self, id: u32, r: &mut Reader<'_>) -> Vec<u8> {
        let Some(path) = self.handles.get(&handle(r)).cloned() else { return status(id, 4) };
        let (offset, len) = (r.u64().unwrap(), r.u32().unwrap() as usize);
        if path == BUSY {
            let mut f = id.to_be_bytes().to_vec();
            f.put_string(&vec![0; len]);
            return packet(103, &f);
        }
        self.reads += 1;
        if let Some((after, len)) = self.habits.changes
            && self.reads > after
        {
            let file = self.files.get_mut(&path).unwrap();
            let from = file.len();
            file.resize(len, 0);
            file.iter_mut().enumerate().skip(from).for_each(|(i, b)| *b = i as u8);
        }
        if self.habits.early_eof.is_some_and(|at| offset >= at) {
            return status(id, 1);
        }
        let file = &self.files[&path];
        let data = file.get(offset as usize..).unwrap_or_default();
        let mut n = data.len().min(len);
        if n == 0 {
            return status(id, 1);
        }
        let data = data.to_vec();
        if self.habits.most > 0 {
            n = n.min(self.habits.most);
        }
        if self.habits.short {
            n = 1 + self.roll(n);
        }
        let mut f = id.to_be_bytes().to_vec();
        f.put_string(&data[..n]);
        packet(103, &f)
    }
}

fn handle(r: &mut Reader<'_>) -> u32 {
    u32::from_be_bytes(r.string().unwrap().try_into().unwrap())
}

pub fn status(id: u32, code: u32) -> Vec<u8> {
    let mut f = id.to_be_bytes().to_vec();
    f.put_u32(code);
    f.put_string(b"");
    f.put_string(b"");
    packet(101, &f)
}
