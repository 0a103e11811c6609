//! What a freeze leaves over: credentials that can vote nowhere.

use protocol::entry::{LogState, NoticeAction};
use protocol::grammar::HeadsLog;
use protocol::ids::LogId;
use protocol::manifest::Election;

/// What to know and to announce once these actions are in force: credentials that no cell takes any more, and that registrars go on issuing. `None` where there are none.
pub(super) fn left_over(
    election: &Election,
    heads: &HeadsLog,
    actions: &[NoticeAction],
) -> Option<String> {
    let freezes = |log: LogId| actions.contains(&NoticeAction::Freeze { log });
    let stopped = |log: LogId| {
        let last = heads.last_head();
        let said = last.and_then(|(_, head)| head.log(election, log));
        freezes(log)
            || heads.schedule().freeze(log).is_some()
            || said.is_some_and(|said| said.state == LogState::Closed)
    };
    let logs = || election.logs().iter().copied();
    let cells = logs().filter(|log| matches!(log, LogId::Cell(_)));
    let (frozen, open): (Vec<LogId>, Vec<LogId>) = cells.partition(|log| stopped(*log));
    let issuing: Vec<String> = logs()
        .filter(|log| matches!(log, LogId::Issuance { .. }) && !stopped(*log))
        .map(|log| log.prefix())
        .collect();
    // A registrar's freeze alone leaves nothing over, since whoever has a credential can vote; nor does the end of all logs.
    let ends = open.is_empty() && issuing.is_empty();
    if ends || !frozen.iter().any(|log| freezes(*log)) || heads.schedule().cancelled().is_some() {
        return None;
    }
    let names: Vec<String> = frozen.iter().map(|log| log.prefix()).collect();
    let (names, issuing) = (names.join(", "), issuing.join(", "));
    if open.is_empty() {
        return Some(format!(
            "every cell is frozen ({names}), so whoever has not voted yet cannot vote any more, with any credential. {issuing} still issue credentials: freeze them too (--registrar R), or \
             use `election close`"
        ));
    }
    let (stop, all) = (frozen.len(), frozen.len() + open.len());
    let are = if stop == 1 { "is" } else { "are" };
    let go_on = if issuing.is_empty() {
        "No log issues any more".to_owned()
    } else {
        format!(
            "{issuing} still issue such credentials: if nobody shall get one in vain, freeze them too (--registrar R), which ends sign-in for all"
        )
    };
    Some(format!(
        "{stop} of {all} cells {are} frozen ({names}): a credential belongs to one cell, so of the voters who have not voted yet about {} % cannot any more, those included who sign in from \
         now on. Which ones these are only their devices know: announce it. {go_on}",
        (stop * 100).div_ceil(all),
    ))
}
