//! All logs of an election, and what is done to every one of them.

use std::collections::BTreeSet;
use std::sync::Arc;

use protocol::entry::LogState;
use protocol::ids::LogId;

use super::anchors::Chain;
use super::cell::Cell;
use super::census;
use super::checked::Checked;
use super::checkpoint::{Signed, compare_all, judge_unpublished};
use super::context::Context;
use super::heads::Heads;
use super::issuance::Shard;
use super::log::Log;
use super::results::{self, Published};
use super::walk::Walk;
use crate::work::Pool;

/// The logs as far as they were followed, and the anchors.
pub(super) struct Logs<'a> {
    pub(super) heads: Log<Heads<'a>>,
    pub(super) chains: Vec<Chain>,
    pub(super) cells: Vec<Log<Cell<'a>>>,
    pub(super) shards: Vec<Log<Shard<'a>>>,
}

/// Follows every cell and every issuance log.
pub(super) fn follow<'a>(
    context: Context<'a>,
    pool: &Pool<'a>,
    newest: Vec<(LogId, Option<Signed>)>,
    published: &Published,
    final_sizes: Option<&[u64]>,
    checked: &'a Checked,
) -> (Vec<Log<Cell<'a>>>, Vec<Log<Shard<'a>>>) {
    let (mut cells, mut shards) = (Vec::new(), Vec::new());
    for (position, (log, newest)) in newest.into_iter().enumerate() {
        context.progress.stage(log.to_string());
        match log {
            LogId::Cell(k) => {
                let mut wanted = results::wanted(
                    &[&published.sizes(), final_sizes.unwrap_or_default()],
                    position,
                );
                wanted.extend(newest.as_ref().map(Signed::size));
                let counted_below = final_sizes.and_then(|sizes| sizes.get(position).copied());
                let cell = Cell::new(context.election, k, wanted, counted_below, checked);
                let mut log = Log::new(log, cell);
                log.follow(newest, context, pool);
                log.content.keep_end(log.walk.size());
                log.walk.compare_edge(context, pool);
                cells.push(log);
            }
            LogId::Issuance { registrar, shard } => {
                let mut log = Log::new(log, Shard::new(context.election, registrar, shard));
                log.follow(newest, context, pool);
                log.walk.compare_edge(context, pool);
                shards.push(log);
            }
            LogId::Heads => {}
        }
    }
    (cells, shards)
}

impl<'a> Logs<'a> {
    /// In head order; the heads log is not among them.
    pub(super) fn walks(&self) -> Vec<&Walk> {
        let cells = self.cells.iter().map(|log| &log.walk);
        cells
            .chain(self.shards.iter().map(|log| &log.walk))
            .collect()
    }

    /// A log without a checkpoint must be one that nothing speaks of.
    pub(super) fn judge_unpublished(&self, context: &Context<'_>, published: &Published) {
        // Before the first head there is nothing, and nobody is to blame; what an anchor holds was published.
        let by_anchors = self.chains.iter().any(|chain| chain.size() > 0);
        judge_unpublished(context, &self.heads.walk, by_anchors);
        let named_by_results = published.sizes();
        let walks = self.walks().into_iter();
        for (position, (walk, changes)) in walks.zip(self.heads.content.changes()).enumerate() {
            let by_heads = changes
                .iter()
                .any(|(_, said)| said.state != LogState::Stale);
            // The final results count a cell that never published at its genesis.
            let by_results = named_by_results.get(position).is_some_and(|size| *size > 1);
            judge_unpublished(context, walk, by_heads || by_results);
        }
    }

    /// Names every file that belongs to nothing. What is newer than the audit is followed first. Returns whether the source can list its files.
    pub(super) fn take_census(&mut self, context: Context<'a>, pool: &Pool<'a>) -> bool {
        context.progress.stage("files that belong to nothing");
        let has_witnesses = !context.election.manifest().witnesses.keys.is_empty();
        let Some(later) = census::list(&context, &self.extent(has_witnesses)) else {
            return false;
        };
        if later.is_empty() {
            return true;
        }
        context.progress.stage("what was published since");
        self.heads.follow_on(context, pool);
        for chain in &mut self.chains {
            chain.advance(context);
            chain.judge(&self.heads.walk, context, pool);
        }
        for log in &mut self.cells {
            log.follow_on(context, pool);
        }
        for log in &mut self.shards {
            log.follow_on(context, pool);
        }
        // A log that went over to its spare key meanwhile was preceded by the notice.
        self.heads.follow_on(context, pool);
        let switches = &self.heads.content.notices().switches;
        census::judge_later(&context, &self.extent(has_witnesses), switches, later);
        true
    }

    fn extent(&self, has_witnesses: bool) -> census::Extent<'_> {
        let walks = self.walks().into_iter().chain([&self.heads.walk]);
        census::Extent::new(walks, &self.chains, has_witnesses)
    }

    /// Every `checkpoints/<size>`, and `checkpoint` itself.
    pub(super) fn compare_checkpoints(
        &self,
        published: &Published,
        context: Context<'a>,
        pool: &Pool<'a>,
    ) {
        let heads = &self.heads;
        let switches = Arc::new(heads.content.notices().switches.clone());
        let newest = |signed: &Option<Signed>| signed.as_ref().map(Signed::size);
        let mut required: BTreeSet<u64> = self.chains.iter().flat_map(Chain::sizes).collect();
        required.extend(newest(&heads.newest));
        compare_all(pool, context, &heads.walk, &required, &switches);
        heads.compare_newest(context, pool);

        let named_by_results = published.sizes();
        let of_cells = self.cells.iter().map(|log| newest(&log.newest));
        let of_shards = self.shards.iter().map(|log| newest(&log.newest));
        let logs = self.walks().into_iter().zip(of_cells.chain(of_shards));
        for (position, ((walk, own), changes)) in logs.zip(heads.content.changes()).enumerate() {
            // A stale log's size may be its genesis, which nobody had to sign.
            let mut required: BTreeSet<u64> = changes
                .iter()
                .filter(|(_, said)| said.state != LogState::Stale)
                .map(|(_, said)| said.size)
                .collect();
            required.extend(own);
            required.extend(named_by_results.get(position));
            compare_all(pool, context, walk, &required, &switches);
        }
        for log in &self.cells {
            log.compare_newest(context, pool);
        }
        for log in &self.shards {
            log.compare_newest(context, pool);
        }
    }
}
