//! Which address of a backend the next session goes to.

use super::health::{Share, Standing, WHOLE};

/// `order` of a backend.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// The first address that is fit; the others stand in for it.
    InOrder,
    /// By turns, each as often as its weight says, and evenly spread.
    RoundRobin,
    /// The address with the fewest sessions for its weight.
    LeastSessions,
}

impl Order {
    /// Every value, in the order of the documentation.
    pub const ALL: [Self; 3] = [Self::InOrder, Self::RoundRobin, Self::LeastSessions];

    /// The name used in the configuration.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::InOrder => "in-order",
            Self::RoundRobin => "round-robin",
            Self::LeastSessions => "least-sessions",
        }
    }
}

/// What there is to know of an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Candidate {
    /// `weight`.
    pub weight: u32,
    /// What it may be used for.
    pub standing: Standing,
    /// The sessions it has.
    pub sessions: usize,
    /// How long it has been passed over, in the units of [`Order::RoundRobin`]; kept from one choice to the next.
    pub turn: i64,
}

/// A number between 0 and [`WHOLE`], by chance.
pub type Chance = Share;

impl Candidate {
    fn share(&self) -> Share {
        match self.standing {
            Standing::Fit(share) => share,
            Standing::Due => WHOLE,
            Standing::Out => 0,
        }
    }

    /// What it counts for among the others; nothing, where it is not to be chosen.
    fn worth(&self) -> i64 {
        i64::from(self.weight) * i64::from(self.share())
    }
}

/// The place of the address to take, and the turns that follow from it; `None` where none is fit. Of addresses in
/// order, one in its slow start is passed over as chance wants it, so that others further down get their share: for who
/// finds none in this way there is `eager`.
pub fn choose(order: Order, candidates: &mut [Candidate], eager: bool, chance: Chance) -> Option<usize> {
    match order {
        Order::InOrder => {
            let mut fit = candidates.iter().enumerate().filter(|(_, candidate)| candidate.worth() > 0);
            fit.find(|(_, candidate)| eager || candidate.share() >= chance).map(|(place, _)| place)
        }
        Order::RoundRobin => by_turns(candidates),
        Order::LeastSessions => least(candidates, chance),
    }
}

/// Smooth turns: each grows by its worth, the greatest is taken and pays for all.
fn by_turns(candidates: &mut [Candidate]) -> Option<usize> {
    let all: i64 = candidates.iter().map(Candidate::worth).sum();
    for candidate in &mut *candidates {
        candidate.turn += candidate.worth();
    }
    let fit = candidates.iter_mut().enumerate().filter(|(_, candidate)| candidate.worth() > 0);
    // Of equals the first: `max_by_key` would take the last.
    let (place, chosen) = fit.rev().max_by_key(|(_, candidate)| candidate.turn)?;
    chosen.turn -= all;
    Some(place)
}

fn least(candidates: &[Candidate], chance: Chance) -> Option<usize> {
    // As it would be with one session more, so that weights count among idle ones too.
    let load = |candidate: &Candidate| candidate.sessions as f64 + 1.0;
    let load = |candidate: &Candidate| load(candidate) / candidate.worth() as f64;
    let fit: Vec<_> = candidates.iter().enumerate().filter(|(_, candidate)| candidate.worth() > 0).collect();
    let lightest = fit.iter().map(|(_, candidate)| load(candidate)).min_by(f64::total_cmp)?;
    let equal: Vec<_> = fit.iter().filter(|(_, candidate)| load(candidate) <= lightest).collect();
    // Always taking the first of equals would send each idle moment's session there.
    equal.get(usize::from(chance) % equal.len()).map(|(place, _)| *place)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fit(weight: u32) -> Candidate {
        Candidate { weight, standing: Standing::Fit(WHOLE), sessions: 0, turn: 0 }
    }

    fn choices(order: Order, candidates: &mut [Candidate], count: usize) -> String {
        let choice = |_| match choose(order, candidates, false, 0) {
            Some(place) => {
                candidates[place].sessions += 1;
                char::from(b'a' + u8::try_from(place).unwrap())
            }
            None => '-',
        };
        (0..count).map(choice).collect()
    }

    #[test]
    fn in_order_is_the_first_that_may_be_used() {
        let out = Candidate { standing: Standing::Out, ..fit(1) };
        let due = Candidate { standing: Standing::Due, ..fit(1) };
        assert_eq!(choices(Order::InOrder, &mut [fit(1), fit(1)], 3), "aaa");
        assert_eq!(choices(Order::InOrder, &mut [out, fit(0), due, fit(1)], 2), "cc");
        for order in Order::ALL {
            assert_eq!(choices(order, &mut [out, fit(0)], 1), "-", "{order:?}");
            assert_eq!(choices(order, &mut [], 1), "-", "{order:?}");
        }
    }

    #[test]
    fn in_order_passes_over_a_slow_start_by_chance_and_for_others_alone() {
        let slow = Candidate { standing: Standing::Fit(WHOLE / 4), ..fit(1) };
        let chosen = |eager, chance| choose(Order::InOrder, &mut [slow, fit(1)], eager, chance);
        assert_eq!((chosen(false, WHOLE / 4), chosen(false, WHOLE / 4 + 1)), (Some(0), Some(1)));
        assert_eq!(chosen(true, WHOLE), Some(0));
        assert_eq!(choose(Order::InOrder, &mut [slow], false, WHOLE), None);
    }

    #[test]
    fn turns_follow_weights_and_are_spread() {
        assert_eq!(choices(Order::RoundRobin, &mut [fit(1), fit(1), fit(1)], 7), "abcabca");
        assert_eq!(choices(Order::RoundRobin, &mut [fit(5), fit(1), fit(1)], 14), "aabacaaaabacaa");
        assert_eq!(choices(Order::RoundRobin, &mut [fit(0), fit(256)], 3), "bbb");
    }

    #[test]
    fn turns_go_on_where_one_is_out_and_a_slow_start_has_its_share() {
        let out = Candidate { standing: Standing::Out, ..fit(9) };
        assert_eq!(choices(Order::RoundRobin, &mut [fit(1), out, fit(1)], 4), "acac");
        let slow = Candidate { standing: Standing::Fit(WHOLE / 3), ..fit(1) };
        let chosen = choices(Order::RoundRobin, &mut [slow, fit(1)], 40);
        assert_eq!(chosen.matches('a').count(), 10);
    }

    #[test]
    fn least_sessions_heeds_weights_and_what_is_there() {
        let many = Candidate { sessions: 10, ..fit(1) };
        assert_eq!(choices(Order::LeastSessions, &mut [many, fit(1)], 10), "bbbbbbbbbb");
        let chosen = choices(Order::LeastSessions, &mut [fit(3), fit(1)], 40);
        assert_eq!(chosen.matches('a').count(), 30);
        let slow = Candidate { standing: Standing::Fit(WHOLE / 3), ..fit(1) };
        let chosen = choices(Order::LeastSessions, &mut [slow, fit(1)], 40);
        assert_eq!(chosen.matches('a').count(), 10);
    }

    #[test]
    fn of_equals_chance_takes_one() {
        let mut equal = [fit(1), fit(1), Candidate { sessions: 1, ..fit(1) }, fit(1)];
        let chosen: Vec<_> = (0..6).map(|chance| choose(Order::LeastSessions, &mut equal, false, chance)).collect();
        assert_eq!(chosen, [0, 1, 3, 0, 1, 3].map(Some));
    }
}
