//! Taking the moment that the verdict holds for: what speaks of other files first, then what it speaks of. See the module above for why in this order.

use std::time::{Duration, Instant};

use protocol::ids::LogId;

use super::anchors::Chain;
use super::checkpoint::{Signed, Switches, read_newest};
use super::context::Context;
use super::heads::Heads;
use super::log::Log;
use super::results::Published;
use crate::finding::{Code, Place, Votes};
use crate::work::Pool;

/// Time between looks while waiting.
const POLL: Duration = Duration::from_millis(25);

/// What the audit holds for.
pub(super) struct Moment<'a> {
    pub(super) published: Published,
    pub(super) heads: Log<Heads<'a>>,
    pub(super) chains: Vec<Chain>,
    /// Every log's newest checkpoint, in head order; `None` where it is missing or wrong.
    pub(super) newest: Vec<(LogId, Option<Signed>)>,
}

/// Looks again and again until it is so, or the time is up.
pub(super) fn wait(settle: Duration, mut is_so: impl FnMut() -> bool) {
    let deadline = Instant::now() + settle;
    while !is_so() && Instant::now() < deadline {
        std::thread::sleep(POLL);
    }
}

/// Takes it.
pub(super) fn take<'a>(context: Context<'a>, pool: &Pool<'a>, settle: Duration) -> Moment<'a> {
    context.progress.stage("heads and anchors");
    let mut published = Published::read(&context);
    if published.is_missing() {
        // The first results may be about to be published.
        wait(settle, || {
            published = Published::read(&context);
            !published.is_missing()
        });
    }
    let mut newest = read_newest(&context, LogId::Heads);
    if newest.is_none() {
        // So may be the first head.
        wait(settle, || {
            newest = read_newest(&context, LogId::Heads);
            newest.is_some()
        });
    }
    let mut heads = Log::new(LogId::Heads, Heads::new(context.election));
    heads.follow(newest, context, pool);
    let chains = read_anchors(&mut heads, context, pool, settle);

    let newest = take_checkpoints(&mut heads, context, pool, settle);
    heads.walk.compare_edge(context, pool);
    Moment {
        published,
        heads,
        chains,
        newest,
    }
}

/// Reads the anchors, and compares them with the heads log, which may have to be followed further for that.
fn read_anchors<'a>(
    heads: &mut Log<Heads<'a>>,
    context: Context<'a>,
    pool: &Pool<'a>,
    settle: Duration,
) -> Vec<Chain> {
    let anchors = context.election.manifest().anchors.iter();
    let mut chains: Vec<Chain> = anchors
        .map(|anchor| Chain::new(anchor.name.clone()))
        .collect();
    for chain in &mut chains {
        chain.advance(context);
    }
    let lacks_final = |heads: &Log<Heads<'_>>, chain: &Chain| {
        heads.content.final_head().is_some() && !chain.stopped() && chain.size() < heads.walk.size()
    };
    wait(settle, || {
        let is_behind =
            |heads: &Log<Heads<'_>>| chains.iter().any(|chain| chain.is_ahead_of(&heads.walk));
        if is_behind(heads) {
            heads.follow(read_newest(&context, LogId::Heads), context, pool);
        }
        let is_behind = is_behind(heads);
        for chain in &mut chains {
            if lacks_final(heads, chain) {
                chain.advance(context);
            }
        }
        heads.walk.stopped()
            || (!is_behind && !chains.iter().any(|chain| lacks_final(heads, chain)))
    });
    for chain in &mut chains {
        chain.judge(&heads.walk, context, pool);
        chain.judge_ahead(&heads.walk, context);
        // "The final head must be covered by every anchor."
        if lacks_final(heads, chain) {
            context.add(
                Code::AnchorNotFinal,
                Place::file(format!("anchors/{}/{}", chain.name(), chain.objects())),
                Votes::AtMost(0),
                format!(
                    "the anchor holds the heads log up to size {}; the final head ends it at {}",
                    chain.size(),
                    heads.walk.size()
                ),
            );
        }
    }
    chains
}

/// Takes every log's newest checkpoint: the cells' before the issuance logs', as heads do.
fn take_checkpoints<'a>(
    heads: &mut Log<Heads<'a>>,
    context: Context<'a>,
    pool: &Pool<'a>,
    settle: Duration,
) -> Vec<(LogId, Option<Signed>)> {
    let take = || -> Vec<(LogId, Option<Signed>)> {
        let logs = context.election.logs().iter();
        logs.map(|log| (*log, read_newest(&context, *log)))
            .collect()
    };
    let mut taken = take();
    if has_unexplained_key(&taken, &heads.content.notices().switches) {
        // A log may have gone over to its spare key since the heads log was read: then the notice is there by now.
        // The heads that come with it may name larger sizes, so all is taken again.
        wait(settle, || {
            heads.follow(read_newest(&context, LogId::Heads), context, pool);
            taken = take();
            !has_unexplained_key(&taken, &heads.content.notices().switches)
        });
    }
    let signed = taken
        .iter()
        .filter_map(|(log, signed)| Some((*log, signed.as_ref()?)))
        .chain(heads.newest.iter().map(|signed| (LogId::Heads, signed)));
    for (log, signed) in signed {
        context.progress.expect(signed.size());
        if let Some((code, evidence)) = heads.content.notices().switches.judge(log, signed) {
            let place = Place::file(format!("{log}/checkpoint"));
            context.add(code, place, Votes::WholeRoll, evidence);
        }
    }
    taken
}

fn has_unexplained_key(taken: &[(LogId, Option<Signed>)], switches: &Switches) -> bool {
    taken
        .iter()
        .filter_map(|(log, signed)| Some((*log, signed.as_ref()?)))
        .any(|(log, signed)| signed.key == 1 && switches.key_at(log, signed.size()) == 0)
}
