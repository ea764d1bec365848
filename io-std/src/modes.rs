//! Terminal modes on the wire and on a terminal (RFC 4254 §8, RFC 8160): one table for both sides.

use std::io;
use std::os::fd::AsFd;

use rustix::termios::{
    ControlModes, InputModes, LocalModes, OptionalActions, OutputModes, SpecialCodeIndex, Termios, tcgetattr,
    tcsetattr,
};

/// Where a terminal keeps a mode.
#[derive(Clone, Copy)]
enum Place {
    Key(SpecialCodeIndex),
    Input(InputModes),
    Local(LocalModes),
    Output(OutputModes),
    Control(ControlModes),
    /// A size of characters, which is more than one bit.
    Size(ControlModes),
    InputSpeed,
    OutputSpeed,
}

/// Opcodes and what they stand for.
const TABLE: &[(u8, Place)] = &[
    (1, Place::Key(SpecialCodeIndex::VINTR)),
    (2, Place::Key(SpecialCodeIndex::VQUIT)),
    (3, Place::Key(SpecialCodeIndex::VERASE)),
    (4, Place::Key(SpecialCodeIndex::VKILL)),
    (5, Place::Key(SpecialCodeIndex::VEOF)),
    (6, Place::Key(SpecialCodeIndex::VEOL)),
    (7, Place::Key(SpecialCodeIndex::VEOL2)),
    (8, Place::Key(SpecialCodeIndex::VSTART)),
    (9, Place::Key(SpecialCodeIndex::VSTOP)),
    (10, Place::Key(SpecialCodeIndex::VSUSP)),
    (12, Place::Key(SpecialCodeIndex::VREPRINT)),
    (13, Place::Key(SpecialCodeIndex::VWERASE)),
    (14, Place::Key(SpecialCodeIndex::VLNEXT)),
    #[cfg(target_os = "linux")]
    (16, Place::Key(SpecialCodeIndex::VSWTC)),
    (18, Place::Key(SpecialCodeIndex::VDISCARD)),
    (30, Place::Input(InputModes::IGNPAR)),
    (31, Place::Input(InputModes::PARMRK)),
    (32, Place::Input(InputModes::INPCK)),
    (33, Place::Input(InputModes::ISTRIP)),
    (34, Place::Input(InputModes::INLCR)),
    (35, Place::Input(InputModes::IGNCR)),
    (36, Place::Input(InputModes::ICRNL)),
    #[cfg(target_os = "linux")]
    (37, Place::Input(InputModes::IUCLC)),
    (38, Place::Input(InputModes::IXON)),
    (39, Place::Input(InputModes::IXANY)),
    (40, Place::Input(InputModes::IXOFF)),
    (41, Place::Input(InputModes::IMAXBEL)),
    (42, Place::Input(InputModes::IUTF8)),
    (50, Place::Local(LocalModes::ISIG)),
    (51, Place::Local(LocalModes::ICANON)),
    #[cfg(target_os = "linux")]
    (52, Place::Local(LocalModes::XCASE)),
    (53, Place::Local(LocalModes::ECHO)),
    (54, Place::Local(LocalModes::ECHOE)),
    (55, Place::Local(LocalModes::ECHOK)),
    (56, Place::Local(LocalModes::ECHONL)),
    (57, Place::Local(LocalModes::NOFLSH)),
    (58, Place::Local(LocalModes::TOSTOP)),
    (59, Place::Local(LocalModes::IEXTEN)),
    (60, Place::Local(LocalModes::ECHOCTL)),
    (61, Place::Local(LocalModes::ECHOKE)),
    (62, Place::Local(LocalModes::PENDIN)),
    (70, Place::Output(OutputModes::OPOST)),
    #[cfg(target_os = "linux")]
    (71, Place::Output(OutputModes::OLCUC)),
    (72, Place::Output(OutputModes::ONLCR)),
    (73, Place::Output(OutputModes::OCRNL)),
    (74, Place::Output(OutputModes::ONOCR)),
    (75, Place::Output(OutputModes::ONLRET)),
    (90, Place::Size(ControlModes::CS7)),
    (91, Place::Size(ControlModes::CS8)),
    (92, Place::Control(ControlModes::PARENB)),
    (93, Place::Control(ControlModes::PARODD)),
    (128, Place::InputSpeed),
    (129, Place::OutputSpeed),
];

/// A key that is switched off: on the wire, and on this system (`_POSIX_VDISABLE`).
const NO_KEY: u32 = 255;
#[cfg(any(target_os = "linux", target_os = "android"))]
const NO_KEY_HERE: u8 = 0;
#[cfg(not(any(target_os = "linux", target_os = "android")))]
const NO_KEY_HERE: u8 = 0xff;

/// The modes of a terminal, for [`Pty::modes`](crate::Pty::modes): opcode and value.
///
/// Ask before the terminal is made raw; the other side is meant to do what it does now.
///
/// # Errors
/// What the system says, such as that it is no terminal.
pub fn read(terminal: impl AsFd) -> io::Result<Vec<(u8, u32)>> {
    let modes = tcgetattr(terminal)?;
    Ok(TABLE.iter().map(|(opcode, place)| (*opcode, place.get(&modes))).collect())
}

/// Sets the modes of a terminal. Those that this system does not have are passed over, and so are
/// speeds of zero, which would hang up.
///
/// # Errors
/// What the system says, such as that it is no terminal.
pub fn apply(terminal: impl AsFd, modes: &[(u8, u32)]) -> io::Result<()> {
    let mut now = tcgetattr(&terminal)?;
    for (opcode, value) in modes {
        if let Some((_, place)) = TABLE.iter().find(|(known, _)| known == opcode) {
            place.set(&mut now, *value);
        }
    }
    Ok(tcsetattr(terminal, OptionalActions::Now, &now)?)
}

impl Place {
    fn get(self, modes: &Termios) -> u32 {
        match self {
            Place::Key(key) if modes.special_codes[key] == NO_KEY_HERE => NO_KEY,
            Place::Key(key) => modes.special_codes[key].into(),
            Place::Input(flag) => modes.input_modes.contains(flag).into(),
            Place::Local(flag) => modes.local_modes.contains(flag).into(),
            Place::Output(flag) => modes.output_modes.contains(flag).into(),
            Place::Control(flag) => modes.control_modes.contains(flag).into(),
            Place::Size(size) => (modes.control_modes & ControlModes::CSIZE == size).into(),
            Place::InputSpeed => modes.input_speed(),
            Place::OutputSpeed => modes.output_speed(),
        }
    }

    fn set(self, modes: &mut Termios, value: u32) {
        let on = value != 0;
        match self {
            Place::Key(key) if value == NO_KEY => modes.special_codes[key] = NO_KEY_HERE,
            // What is no byte is no key.
            Place::Key(key) => modes.special_codes[key] = u8::try_from(value).unwrap_or(NO_KEY_HERE),
            Place::Input(flag) => modes.input_modes.set(flag, on),
            Place::Local(flag) => modes.local_modes.set(flag, on),
            Place::Output(flag) => modes.output_modes.set(flag, on),
            Place::Control(flag) => modes.control_modes.set(flag, on),
            Place::Size(size) if on => {
                modes.control_modes = (modes.control_modes - ControlModes::CSIZE) | size;
            }
            Place::Size(_) => {}
            // A pseudo-terminal has none; the speed is for programs that ask.
            Place::InputSpeed if on => modes.set_input_speed(value).unwrap_or_default(),
            Place::OutputSpeed if on => modes.set_output_speed(value).unwrap_or_default(),
            Place::InputSpeed | Place::OutputSpeed => {}
        }
    }
}

#[cfg(all(test, feature = "server"))]
mod tests {
    use super::*;

    #[test]
    fn every_mode_comes_back_as_it_was_set() {
        let (_pty, pts) = pty_process::blocking::open().unwrap();
        let before = tcgetattr(&pts).unwrap();
        for (opcode, place) in TABLE {
            let (mut modes, was) = (before.clone(), place.get(&before));
            let wanted = match (opcode, was) {
                (1..=18, 255) => 7,
                (1..=18, _) => 255,
                (128..=129, _) => 9600,
                // One of the sizes is always on.
                (90..=91, _) => 1,
                (_, was) => 1 - was,
            };
            place.set(&mut modes, wanted);
            assert_eq!(place.get(&modes), wanted, "{opcode}");
            let others =
                TABLE.iter().filter(|(other, _)| other != opcode && !matches!(other, 90..=91 | 128..));
            for (other, place) in others {
                assert_eq!(place.get(&modes), place.get(&before), "{opcode} changed {other}");
            }
        }
    }

    #[test]
    fn a_terminal_does_what_was_read_from_another() {
        let (_one, from) = pty_process::blocking::open().unwrap();
        let (_two, to) = pty_process::blocking::open().unwrap();
        // No ECHO, no ICANON, VINTR ^B, VQUIT off, IXON off.
        apply(&from, &[(53, 0), (51, 0), (1, 2), (2, 255), (38, 0)]).unwrap();
        let modes = read(&from).unwrap();
        assert_ne!(read(&to).unwrap(), modes);
        apply(&to, &modes).unwrap();
        assert_eq!(read(&to).unwrap(), modes);
        // Speeds of zero, opcodes that nobody has, a key that is no byte.
        apply(&to, &[(128, 0), (129, 0), (17, 1), (99, 1), (0, 0), (1, 256)]).unwrap();
        let after = read(&to).unwrap();
        assert_eq!((after[0], &after[1..]), ((1, NO_KEY), &modes[1..]));
        assert!(read(std::fs::File::open("/dev/null").unwrap()).is_err());
    }
}
