package guard

import (
	"math/rand/v2"
	"slices"
	"time"
)

// What a leg could not carry out is tried again: after retryFirst, then twice as long each
// time, and from the failsMost-th failure in a row on every retrySlow. By then the admins
// know. Each wait is off by up to a quarter.
const (
	retryFirst = time.Second
	retrySlow  = 2 * time.Minute
	failsTold  = 3 // in a row, before the admins are told
	failsMost  = 7
	maxTasks   = 256 // entries that are tried again; more are made good by the next look
)

// tasks are what a round carries out beside what is judged anew if it fails.
type tasks struct {
	doors   bool
	lists   []entry
	invites []string
	members []string
}

// undone is what a side could not have carried out, and when that is tried again.
type undone struct {
	tasks
	fails int       // in a row
	due   time.Time // zero: nothing waits
}

// failed notes that a round failed, and returns when all that did is tried again: what
// fails meanwhile waits for the same moment.
func (u *undone) failed(t *tasks, now time.Time) time.Time {
	if u.due.IsZero() {
		u.fails++
		u.due = now.Add(retryIn(u.fails))
	}
	u.doors = u.doors || t.doors
	u.lists = append(u.lists, t.lists[:min(len(t.lists), maxTasks-len(u.lists))]...)
	if u.fails < failsMost { // nobody expects to be asked in any more, after that
		u.invites = append(u.invites, t.invites[:min(len(t.invites), maxInvites-len(u.invites))]...)
		u.members = append(u.members, t.members[:min(len(t.members), maxInvites-len(u.members))]...)
	}
	return u.due
}

// done notes that a round went well.
func (u *undone) done() {
	if u.due.IsZero() {
		u.fails = 0
	}
}

func retryIn(fails int) time.Duration {
	d := retrySlow
	if fails < failsMost {
		d = retryFirst << (fails - 1)
	}
	return d*3/4 + rand.N(d/2)
}

// retryLocked has done again what is due. Who was to go, or to be given rights, is judged
// anew by then.
func (sd *side) retryLocked(now time.Time) {
	u := &sd.undone
	if u.due.IsZero() || now.Before(u.due) {
		return
	}
	sd.doors = sd.doors || u.doors
	sd.lists = slices.Concat(slices.DeleteFunc(u.lists, sd.overtakenLocked), sd.lists)
	sd.invites = slices.Concat(u.invites, sd.invites)
	sd.members = slices.Concat(u.members, sd.members)
	*u = undone{fails: u.fails}
	poke(sd.wake)
}

// overtakenLocked reports whether the opposite of an entry was decided meanwhile.
func (sd *side) overtakenLocked(e entry) bool {
	for _, sub := range sd.present {
		if e.drop && sub.muted != nil && sub.muted.mode == e.mode && sub.muted.mask == e.mask {
			return true
		}
	}
	e.drop = !e.drop
	return slices.Contains(sd.lists, e)
}
