//! Byte-pair merging: how many tokens a piece of text becomes. `n log n` in the length of the piece, whatever it is.
use std::{cmp::Reverse, collections::BinaryHeap, collections::HashMap};

use super::vocabulary::Vocabulary;

/// Which neighbours merge, and which of them first.
pub(super) enum Merges {
    /// tiktoken's: two neighbours merge if what they make together is a token; the lowest rank first
    Ranked(HashMap<Box<[u8]>, u32>),
    /// Hugging Face's: listed pairs merge, in the order of the list; a token is 0..255 for a byte, 256 + n for what
    /// pair n made
    Paired(HashMap<(u32, u32), u32>),
}

/// The first token that is no byte, of [`Merges::Paired`].
const MERGED: u32 = 256;

impl Merges {
    /// Tokens in the order of their ranks, each behind its length.
    pub(super) fn ranked(mut data: &[u8]) -> Self {
        let mut ranks = HashMap::new();
        while let Some((length, rest)) = data.split_first() {
            let Some((token, rest)) = rest.split_at_checked(usize::from(*length)) else { break };
            let rank = u32::try_from(ranks.len()).unwrap_or(u32::MAX);
            ranks.insert(token.into(), rank);
            data = rest;
        }
        Self::Ranked(ranks)
    }

    /// Pairs in their order, two little-endian 16-bit tokens each.
    pub(super) fn paired(data: &[u8]) -> Self {
        let (pairs, _) = data.as_chunks::<4>();
        let pair =
            |[a, b, c, d]: &[u8; 4]| (u32::from(u16::from_le_bytes([*a, *b])), u32::from(u16::from_le_bytes([*c, *d])));
        Self::Paired(pairs.iter().map(pair).zip(MERGED..).collect())
    }

    /// What two neighbours become: the lower, the sooner.
    fn merged(&self, piece: &[u8], left: &Part, right: &Part) -> Option<u32> {
        match self {
            Merges::Ranked(ranks) => ranks.get(piece.get(left.start..right.end)?).copied(),
            Merges::Paired(pairs) => pairs.get(&(left.token, right.token)).copied(),
        }
    }

    /// Tokens of one piece.
    pub(super) fn count(&self, piece: &[u8]) -> usize {
        if piece.len() < 2 {
            return piece.len();
        }
        if let Merges::Ranked(ranks) = self
            && ranks.contains_key(piece)
        {
            return 1;
        }
        let mut parts: Vec<Part> = piece
            .iter()
            .enumerate()
            .map(|(at, byte)| Part { start: at, end: at + 1, token: u32::from(*byte), previous: at.checked_sub(1) })
            .collect();
        let mut waiting = BinaryHeap::new();
        let mut count = parts.len();
        for at in 1..parts.len() {
            self.offer(piece, &parts, at - 1, &mut waiting);
        }
        while let Some(Reverse((token, at, end))) = waiting.pop() {
            let (Some(left), Some(right)) = (parts.get(at), neighbour(&parts, at)) else { continue };
            // one of the two has merged with another since
            if right.end != end || left.end == left.start || self.merged(piece, left, right) != Some(token) {
                continue;
            }
            let (middle, previous) = (right.start, left.previous);
            if let Some(gone) = parts.get_mut(middle) {
                gone.end = gone.start;
            }
            if let Some(left) = parts.get_mut(at) {
                (left.end, left.token) = (end, token);
            }
            if let Some(next) = parts.get_mut(end) {
                next.previous = Some(at);
            }
            count -= 1;
            self.offer(piece, &parts, at, &mut waiting);
            if let Some(previous) = previous {
                self.offer(piece, &parts, previous, &mut waiting);
            }
        }
        count
    }

    /// Queues the part at `at` and its right neighbour, if they merge.
    fn offer(&self, piece: &[u8], parts: &[Part], at: usize, waiting: &mut BinaryHeap<Reverse<(u32, usize, usize)>>) {
        if let (Some(left), Some(right)) = (parts.get(at), neighbour(parts, at))
            && let Some(token) = self.merged(piece, left, right)
        {
            waiting.push(Reverse((token, at, right.end)));
        }
    }
}

/// A token at its first byte's place; empty where it was merged into the one before.
struct Part {
    start: usize,
    end: usize,
    token: u32,
    /// place of the part before
    previous: Option<usize>,
}

fn neighbour(parts: &[Part], at: usize) -> Option<&Part> {
    parts.get(parts.get(at)?.end)
}

impl Vocabulary {
    /// Tokens of a text.
    pub(super) fn count(&self, text: &str) -> usize {
        let mut count = 0;
        let mut at = 0;
        // runs that end with a line break were matched as such, but where the pattern knows no line breaks
        let paired = matches!(self.merges, Merges::Paired(_));
        while let Some(found) = self.pieces.find_at(text, at) {
            let mut end = found.end();
            // of a run of whitespace before a word the last goes with the word, or stands alone (`\s+(?!\S)`)
            if end < text.len()
                && let Some(last) = found.as_str().chars().next_back()
                && last.is_whitespace()
                && (paired || !matches!(last, '\r' | '\n'))
                && found.len() > last.len_utf8()
            {
                end -= last.len_utf8();
            }
            count += self.merges.count(text.as_bytes().get(found.start()..end).unwrap_or_default());
            at = end;
        }
        count
    }
}
