//! The table of what is legal when: its page, and what holds in every one of its cells.

use konko_core::msg::{self, Category, SentBy};
use konko_core::transport::legal::{Legality, State, judge, markdown};
use konko_core::transport::negotiate::Role;

const ROLES: [Role; 2] = [Role::Client, Role::Server];
const FIRST: [State; 3] = [State::FirstInit, State::FirstMethod, State::FirstNewKeys];

/// One cell of the matrix, with what is known about its message.
struct Cell {
    state: State,
    role: Role,
    strict: bool,
    number: u8,
    category: Option<Category>,
    verdict: Legality,
}

impl Cell {
    fn exchanging(&self) -> bool {
        use State::{FirstInit, FirstMethod, FirstNewKeys, RekeyMethod, RekeyNewKeys};
        matches!(self.state, FirstInit | FirstMethod | FirstNewKeys | RekeyMethod | RekeyNewKeys)
    }

    fn is(&self, category: Category) -> bool {
        self.category == Some(category)
    }
}

/// Every cell: 256 messages, 8 states, 2 roles, strict or not.
fn each(mut check: impl FnMut(&Cell) -> bool) {
    let mut cells = 0;
    for state in State::ALL {
        for role in ROLES {
            for strict in [false, true] {
                for number in 0..=255 {
                    let verdict = judge(state, role, strict, number);
                    let category = msg::info(number).map(|i| i.category);
                    let cell = Cell { state, role, strict, number, category, verdict };
                    let name = msg::name(number);
                    assert!(check(&cell), "{name}: {verdict:?} in {state:?}, {role:?}, strict {strict}");
                    cells += 1;
                }
            }
        }
    }
    assert_eq!(cells, 256 * 8 * 2 * 2);
}

#[test]
fn the_page_is_the_table() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../spec-notes/legality.md");
    let page = markdown();
    if std::env::var_os("UPDATE").is_some() {
        std::fs::write(path, &page).unwrap();
    }
    let written = std::fs::read_to_string(path).unwrap_or_default();
    assert!(
        written == page,
        "spec-notes/legality.md is not the table any more; write it anew with\n  \
         UPDATE=1 cargo test -p konko-core --test legality\nand read what changed"
    );
}

/// The page has one row for each known message, and one for each class of unknown ones.
#[test]
fn unknown_messages_of_a_class_are_judged_alike() {
    each(|c| {
        let stand_in = match c.number {
            _ if c.category.is_some() => c.number,
            0 => 0,
            80..=127 => 101,
            _ => 8,
        };
        assert!(msg::info(8).is_none() && msg::info(101).is_none(), "choose others that are unknown");
        c.verdict == judge(c.state, c.role, c.strict, stand_in)
    });
}

#[test]
fn v24_disconnect_is_handled_everywhere() {
    each(|c| !c.is(Category::Disconnect) || c.verdict == Legality::Handle);
}

#[test]
fn a_message_from_the_wrong_role_is_refused_everywhere() {
    each(|c| {
        let wrong = match msg::info(c.number).map(|i| i.from) {
            Some(SentBy::Client) => c.role == Role::Client,
            Some(SentBy::Server) => c.role == Role::Server,
            _ => false,
        };
        !wrong || c.verdict == Legality::Reject
    });
}

/// OpenSSH PROTOCOL, strict key exchange. Before KEXINIT nobody knows whether it is strict; KEXINIT
/// then looks back at the packets before it.
#[test]
fn nothing_but_the_exchange_is_legal_in_a_strict_first_exchange() {
    each(|c| {
        let expected = match c.state {
            _ if !c.strict || c.is(Category::Disconnect) => return true,
            State::FirstMethod => Category::KexMethod,
            State::FirstNewKeys => Category::NewKeys,
            _ => return true,
        };
        c.verdict == Legality::Reject || (c.is(expected) && c.verdict == Legality::Handle)
    });
}

#[test]
fn strict_changes_the_first_exchange_only_and_only_refuses_more() {
    each(|c| {
        let lenient = judge(c.state, c.role, false, c.number);
        c.verdict == lenient || (FIRST.contains(&c.state) && c.verdict == Legality::Reject)
    });
}

/// RFC 4253 §7.1: whoever has sent KEXINIT sends nothing of the layers above before NEWKEYS.
#[test]
fn k26_nothing_of_the_layers_above_is_legal_inside_an_exchange() {
    use Category::{Auth, AuthRequest, Connection, ExtInfo, Ping, Service};
    each(|c| {
        let above = [Service, ExtInfo, Auth, AuthRequest, Connection, Ping];
        !c.exchanging() || !above.iter().any(|a| c.is(*a)) || c.verdict == Legality::Reject
    });
}

#[test]
fn an_exchange_goes_step_by_step() {
    each(|c| {
        let handled = c.verdict == Legality::Handle;
        let Some(category) = c.category.filter(|_| handled) else { return true };
        match category {
            Category::KexMethod => matches!(c.state, State::FirstMethod | State::RekeyMethod),
            Category::NewKeys => matches!(c.state, State::FirstNewKeys | State::RekeyNewKeys),
            // A server lets no client begin another exchange before it has authenticated (K-28).
            Category::KexInit => match c.state {
                State::FirstInit | State::Connected => true,
                State::Service | State::Auth => c.role == Role::Client,
                _ => false,
            },
            _ => true,
        }
    });
    for role in ROLES {
        for state in [State::FirstInit, State::Connected] {
            assert_eq!(judge(state, role, false, 20), Legality::Handle, "KEXINIT");
        }
    }
}

/// RFC 4252 §6: 80 and above before authentication is an error.
#[test]
fn the_connection_layer_is_closed_before_authentication() {
    each(|c| {
        let connection = (80..=127).contains(&c.number);
        !connection || c.state == State::Connected || c.verdict == Legality::Reject
    });
    each(|c| !c.is(Category::Connection) || c.state != State::Connected || c.verdict == Legality::Handle);
}

#[test]
fn authentication_messages_are_handled_in_authentication_only() {
    each(|c| {
        let auth = c.is(Category::Auth) || c.is(Category::AuthRequest);
        !auth || c.state == State::Auth || c.verdict != Legality::Handle
    });
}

/// RFC 4252 §5.3, for both roles; what the other side's role never sends is refused still.
#[test]
fn c7_nothing_is_heard_of_authentication_once_the_user_is_in() {
    each(|c| {
        let auth = c.is(Category::Auth) || c.is(Category::AuthRequest);
        let own = msg::info(c.number).is_some_and(|info| match info.from {
            SentBy::Client => c.role == Role::Client,
            SentBy::Server => c.role == Role::Server,
            _ => false,
        });
        let expected = if own { Legality::Reject } else { Legality::Ignore };
        !auth || c.state != State::Connected || c.verdict == expected
    });
}

/// RFC 4253 §11: IGNORE, UNIMPLEMENTED and DEBUG never do anything.
#[test]
fn fillers_are_never_handled_and_refused_under_strict_only() {
    each(|c| {
        let refused = c.strict && matches!(c.state, State::FirstMethod | State::FirstNewKeys);
        !c.is(Category::Filler) || c.verdict == if refused { Legality::Reject } else { Legality::Ignore }
    });
}

/// RFC 4253 §11.4, outside of key exchanges.
#[test]
fn unimplemented_answers_unknown_messages_outside_the_first_exchange() {
    const FIRST: [State; 3] = [State::FirstInit, State::FirstMethod, State::FirstNewKeys];
    each(|c| match c.verdict {
        Legality::Unimplemented => c.category.is_none() && !FIRST.contains(&c.state),
        _ => c.category.is_some() || FIRST.contains(&c.state) || matches!(c.number, 0 | 80..=127),
    });
}

#[test]
fn the_list_of_messages_is_sorted_so_that_each_is_found() {
    assert!(msg::MESSAGES.windows(2).all(|w| w[0].number < w[1].number));
    assert!(msg::MESSAGES.iter().all(|m| msg::info(m.number).is_some_and(|i| i.name == m.name)));
}
