//! Passwords, and answers to the server's questions.

use alloc::borrow::ToOwned;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::mem;

use crate::auth::Method;
use crate::auth::client::{AuthRequest, Password, PromptTicket};
use crate::client::ClientConnection;
use crate::error::UsageError;
use crate::login::{Answer, NEW_PASSWORDS, Outcome, Prompt, Question, Questions};
use crate::msg::UserauthInfoRequest;
use crate::wire::SshStr;

/// Most bytes that are shown of the text of an expired password.
const MAX_PROMPT: usize = 1000;

use super::{Conversation, Doing, Login, one_line};

impl Login {
    pub(super) fn on_password(
        &mut self,
        conn: &mut ClientConnection,
        way: usize,
        answer: Answer,
    ) -> Result<(), UsageError> {
        let Answer::Secret(password) = answer else {
            self.done_with(way);
            let why = Outcome::Skipped("no password was given".to_owned());
            self.record(Method::Password, None, why);
            return self.choose(conn);
        };
        if !self.offer.has(Method::Password) {
            return self.converse(conn, way, Some(password));
        }
        self.send(conn, AuthRequest::Password(&password))?;
        self.doing = Doing::Password { way, password };
        Ok(())
    }

    /// RFC 4252 §8: the same message says that the password has expired, and that the new one will not
    /// do, and why.
    pub(super) fn on_password_expired(&mut self, conn: &mut ClientConnection, text: SshStr<'_>) {
        let (way, old, refused) = match mem::replace(&mut self.doing, Doing::Nothing) {
            Doing::Password { way, password } => (way, password, 0),
            Doing::Change { way, old, refused } => (way, old, refused),
            other => {
                self.doing = other;
                return;
            }
        };
        // Escaped as every text of the server, and its lines stay lines.
        let text = text.as_bytes();
        let text = SshStr::new(text.get(..MAX_PROMPT).unwrap_or(text)).escaped(true).to_string();
        if refused >= NEW_PASSWORDS {
            let done = self.on_new_password(conn, way, old, (refused, text), Answer::No);
            return self.usage(done);
        }
        self.ask(way, Question::NewPassword { text: text.clone() });
        self.doing = Doing::AskNewPassword { way, old, refused, text };
    }

    pub(super) fn on_new_password(
        &mut self,
        conn: &mut ClientConnection,
        way: usize,
        old: Password,
        (refused, text): (u32, String),
        answer: Answer,
    ) -> Result<(), UsageError> {
        let Answer::Secret(new) = answer else {
            let what = if refused == 0 { "the password has expired" } else { "the new password was refused" };
            let why = if text.is_empty() { what.to_owned() } else { format!("{what}: {}", one_line(&text)) };
            self.record(Method::Password, None, Outcome::Skipped(why));
            return self.choose(conn);
        };
        self.send(conn, AuthRequest::PasswordChange { old: &old, new: &new })?;
        self.doing = Doing::Change { way, old, refused: refused.saturating_add(1) };
        Ok(())
    }

    pub(super) fn converse(
        &mut self,
        conn: &mut ClientConnection,
        way: usize,
        password: Option<Password>,
    ) -> Result<(), UsageError> {
        self.send(conn, AuthRequest::KeyboardInteractive)?;
        self.doing = Doing::Interactive(Conversation { way, password, asked: false, given_up: false });
        Ok(())
    }

    pub(super) fn on_prompts(
        &mut self,
        conn: &mut ClientConnection,
        ticket: PromptTicket,
        prompts: &UserauthInfoRequest<'_>,
    ) -> Result<(), UsageError> {
        let mut talk = match mem::replace(&mut self.doing, Doing::Nothing) {
            Doing::Interactive(talk) => talk,
            other => {
                self.doing = other;
                return Ok(());
            }
        };
        talk.asked = true;
        let questions: Vec<Prompt> =
            prompts.prompts().map(|(prompt, echo)| Prompt { prompt: prompt.to_text(), echo }).collect();
        let count = questions.len();
        if let Some(password) = &talk.password {
            // A server that asks one hidden question most likely asks for the password.
            let answers = match &questions[..] {
                [] => Some(Vec::new()),
                [only] if !only.echo => Some(alloc::vec![Password::new(password.expose())]),
                _ => None,
            };
            let answer = answers.map_or(Answer::No, Answer::Texts);
            return self.on_answers(conn, talk, (ticket, count), answer);
        }
        let (name, instruction) = (prompts.name.to_text(), prompts.instruction.to_text());
        self.ask(talk.way, Question::Prompts(Questions { name, instruction, questions }));
        self.doing = Doing::AskAnswers { talk, ticket, count };
        Ok(())
    }

    pub(super) fn on_answers(
        &mut self,
        conn: &mut ClientConnection,
        mut talk: Conversation,
        (ticket, count): (PromptTicket, usize),
        answer: Answer,
    ) -> Result<(), UsageError> {
        let answers = match answer {
            Answer::Texts(texts) if texts.len() == count => Some(texts),
            _ => None,
        };
        talk.given_up = answers.is_none();
        // Empty answers end the round; the server says no.
        let answers = answers.unwrap_or_else(|| (0..count).map(|_| Password::new("")).collect());
        conn.answer_prompts(ticket, &answers)?;
        self.doing = Doing::Interactive(talk);
        Ok(())
    }
}
