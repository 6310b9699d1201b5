package guard

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"drawbridge/bridge"
	"drawbridge/policy"
)

// maxLogged bounds what a log line says of a plan, in bytes.
const maxLogged = 300

// planned returns what has to be done, whether the state is to be read again after it,
// and when to look again before lookEvery: once what forbids a plan now has passed.
func (sd *side) planned(o *bridge.Observed, self string) (out []bridge.Changes, more bool, later time.Duration) {
	r := sd.room
	now := r.g.now()
	r.mu.Lock()
	defer r.mu.Unlock()
	free := sd.leaversLocked(now) + sd.overstayLocked(&o.MUC)
	most := r.most.Limit(len(sd.present)) + free
	var words []string
	removes := 0
	if sd.channel() {
		lines, err := sd.planChannelLocked(o, now)
		if err != nil {
			sd.refusePlanLocked(err, nil, now)
			return nil, false, 0
		}
		for _, l := range lines {
			words = append(words, l.Words())
			removes += l.Removes
		}
		if len(lines) > 0 {
			out = append(out, bridge.Changes{Lines: lines})
		}
	} else {
		sd.wantMUC = sd.wantMUCLocked(&o.MUC, self, now)
		plan, err := policy.PlanMUC(sd.calmMUCLocked(&o.MUC, now), o.MUC, o.MUCCaps, most)
		if err != nil {
			for i := range plan.Steps {
				if s := &plan.Steps[i]; !s.Again {
					words = append(words, describeStep(s))
				}
			}
			sd.refusePlanLocked(err, words, now)
			return nil, false, 0
		}
		sd.standLocked("muc", plan.Alarms, now)
		for i := range plan.Steps {
			if plan.Steps[i].Again {
				more = true
				break // what follows is planned anew, from what is there then
			}
			words = append(words, describeStep(&plan.Steps[i]))
			removes += plan.Steps[i].Removes
			out = append(out, bridge.Changes{Step: &plan.Steps[i]})
		}
	}
	if len(words) == 0 {
		sd.plan, sd.doers, sd.mess = nil, nil, sd.mess && !o.Holds
		sd.forgetMarksLocked(o)
		sd.forgetStaysLocked(o, now)
		return nil, false, 0
	}
	removes = max(removes-free, 0)
	acts, peer := sd.actsLocked()
	diff := &Act{At: now, Room: r.name, Place: sd.place.String(), Effect: policy.Alert, Acts: strings.Join(words, "; "), Actor: actorGuard, Result: r.resultLocked("sent")}
	switch {
	case !r.armed, !acts, !o.Holds:
		if !acts {
			diff.Result = "left to " + peer
		} else if r.armed {
			diff.Result = "the bot has no right to"
		}
		if same := strings.Join(sd.plan, "\n") == strings.Join(words, "\n"); !same {
			sd.plan = words
			r.noteLocked(diff)
			r.g.log.Info("guard would change a room", "leg", sd.place.Leg, "room", sd.place.Name, "n", len(words), "rule", diff.Result)
		}
		if r.armed && !acts && o.Holds {
			return sd.plannedBansLocked(o, self, now), false, 0
		}
		return nil, false, 0
	case removes > 0 && !r.budget.Take(removes, len(sd.present), now):
		sd.refusePlanLocked(fmt.Errorf("%w: %d", policy.ErrTooMany, removes), words, now)
		return nil, false, r.most.Span()
	case !sd.mayRepairLocked(now):
		return nil, false, repairsPer
	}
	if !sd.channel() && sd.undoneLocked(&o.MUC, out, now) {
		return nil, true, 0 // without what is fought about
	}
	sd.plan = nil
	r.repairs++
	r.overLocked("plan " + sd.place.String())
	r.noteLocked(diff)
	sd.markDoorsLocked()
	r.g.log.Info("guard changes a room", "leg", sd.place.Leg, "room", sd.place.Name, "n", len(words), "rule", bridge.Shorten(diff.Acts, maxLogged))
	return out, more, sd.lockWaitLocked(o)
}

// lockWaitLocked is when to look again for what ChanServ's old mode lock keeps from being
// changed; 0: nothing is, or it was waited for already.
func (sd *side) lockWaitLocked(o *bridge.Observed) time.Duration {
	asked := ""
	if sd.channel() && policy.LockHolds(sd.want, o.Channel, o.ChannelCaps) {
		asked = sd.want.MLock
	}
	again := asked != "" && asked != sd.locked
	if sd.locked = asked; again {
		return lockWait
	}
	return 0
}

// standLocked tells what of a kind cannot be mended here now, and ends what is so no more.
func (sd *side) standLocked(kind string, now []string, at time.Time) {
	r := sd.room
	matter := kind + " " + sd.place.String() + " "
	for open := range r.open {
		if text, ours := strings.CutPrefix(open, matter); ours && !slices.Contains(now, text) {
			r.overLocked(open)
		}
	}
	for _, text := range now {
		r.alarmLocked(matter+text, sd.place.String()+": "+text, at)
	}
}

// planChannelLocked plans a channel, but for what is fought about.
func (sd *side) planChannelLocked(o *bridge.Observed, now time.Time) ([]policy.Command, error) {
	want, cannot := sd.wantChannelLocked(&o.Channel, now)
	sd.want, sd.cannot = want, cannot
	stopped := func(what string) bool { return sd.room.breaker.Stopped(sd.place.String()+" "+what, now) }
	calm := func(letters string) string {
		return strings.Map(func(c rune) rune {
			if stopped(string(c)) {
				return -1
			}
			return c
		}, letters)
	}
	want.Set, want.Clear = calm(want.Set), calm(want.Clear)
	if stopped("k") {
		want.Key = nil
	}
	if want.Topic != nil && stopped("topic") {
		want.Topic = nil
	}
	for i := range want.Lists {
		l := &want.Lists[i]
		var in []string
		for _, m := range l.Want {
			if !stopped(string(l.Mode) + " " + m) {
				in = append(in, m)
			}
		}
		l.Want = in
	}
	return policy.PlanChannel(want, o.Channel, o.ChannelCaps, 0)
}

// refusePlanLocked says that a plan is not carried out, and shows it.
func (sd *side) refusePlanLocked(err error, words []string, now time.Time) {
	r := sd.room
	text := sd.place.String() + " is left as it is: " + err.Error()
	r.alarmLocked("plan "+sd.place.String(), text, now)
	plan := append([]string{text}, words...)
	if !slices.Equal(sd.plan, plan) {
		sd.plan = plan
		r.noteLocked(&Act{At: now, Room: r.name, Place: sd.place.String(), Effect: policy.Alert, Acts: strings.Join(words, "; "), Actor: actorGuard, Result: "refused: " + err.Error()})
	}
}

// mayRepairLocked bounds how often a room is set right.
func (sd *side) mayRepairLocked(now time.Time) bool {
	kept := sd.repairs[:0]
	for _, at := range sd.repairs {
		if d := now.Sub(at); d >= 0 && d < repairsPer {
			kept = append(kept, at)
		}
	}
	sd.repairs = kept
	if len(kept) >= repairsMax {
		sd.room.eventLocked("repairs "+sd.place.String(), sd.place.String()+" changes again and again: the guard waits", now)
		return false
	}
	sd.repairs = append(sd.repairs, now)
	return true
}

// describeStep says what a step of a MUC changes.
func describeStep(s *policy.MUCStep) string {
	var out []string
	for _, h := range s.Holders {
		out = append(out, string(h.Is)+" "+h.JID)
	}
	for _, v := range s.Visits {
		out = append(out, "role "+string(v.Role)+" "+v.Nick)
	}
	for _, f := range s.Fields {
		out = append(out, f.Var+"="+f.Value)
	}
	if s.Subject != nil {
		out = append(out, "the subject of before")
	}
	return strings.Join(out, ", ")
}
