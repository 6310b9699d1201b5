// Package migrate moves a team from IRC to encrypted Jabber, one bridge at a time, by
// dates: mirror, encrypted-first, irc-readonly, farewell, closed. A phase is entered by
// its date or by hand, only while its gates hold, after it was announced in both places;
// one step back is always open. Step, Advance, Back and Hold are pure; Mover carries out
// what they say: what happens to a room goes through package guard, with its plan, budget,
// dry run and audit.
//
// What gates and reports know comes from a Mover's counts of what was relayed: who, when,
// where and how far protected. No text reaches this package (bridge.Spoken has none), and
// of people who refuse it nothing is counted.
package migrate
