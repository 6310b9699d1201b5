package provision

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"drawbridge/bridge"
	"drawbridge/policy"
)

// ErrNotOwner: the bot does not own the room.
var ErrNotOwner = errors.New("provision: the bot is not owner of the room")

// ErrUnsettled: the room is not what was asked for after all that was tried.
var ErrUnsettled = errors.New("provision: the room does not become what was asked for")

// maxRounds bounds looks at the room: the list, the configuration, the look that
// finds nothing to do, and one each in reserve.
const maxRounds = 6

// Result is what was, or would be, done.
type Result struct {
	Changes []string `json:"changes"`           // for people, in the order they are made
	PutOut  []string `json:"put_out,omitempty"` // nicks that the door's shutting removes
	Left    []string `json:"left,omitempty"`
	Alarms  []string `json:"alarms,omitempty"` // what the service does not have
	Invited []string `json:"invited,omitempty"`
	Done    bool     `json:"done"` // false: it was only looked at
}

// Job is one room to make.
type Job struct {
	Leg     bridge.Enforcer // of the MUC
	Room    bridge.Room
	Channel policy.ChannelSeen
	Topic   string
	Options Options
	Most    int // how many may be put out
}

// Look says what Run would do.
func (j *Job) Look(ctx context.Context) (Result, error) {
	var out Result
	err := j.round(ctx, &out, func(o *bridge.Observed, want policy.MUC) ([]policy.MUCStep, error) {
		return foresee(want, o.MUC, o.MUCCaps, j.Most)
	})
	return out, err
}

// Run makes the room, reading it back after each step that needs it, and invites
// people who became members or more by it and are not there. Run again it finds
// nothing to do.
func (j *Job) Run(ctx context.Context) (Result, error) {
	var out Result
	most, invite := j.Most, []string{}
	for range maxRounds {
		var steps []policy.MUCStep
		err := j.round(ctx, &out, func(o *bridge.Observed, want policy.MUC) (made []policy.MUCStep, err error) {
			if _, err := foresee(want, o.MUC, o.MUCCaps, most); err != nil {
				return nil, err // of the whole way, before the first step
			}
			plan, err := policy.PlanMUC(want, o.MUC, o.MUCCaps, most)
			if err != nil {
				return nil, err
			}
			for _, s := range plan.Steps {
				if s.Again {
					break
				}
				steps = append(steps, s)
			}
			return steps, nil
		})
		if err != nil {
			return out, err
		}
		if len(steps) == 0 {
			out.Done = true
			return out, j.invite(ctx, &out, invite)
		}
		for i := range steps {
			if err := j.Leg.Apply(ctx, j.Room, bridge.Changes{Step: &steps[i]}); err != nil {
				return out, fmt.Errorf("provision: %s: %w", j.Room, err)
			}
			most -= steps[i].Removes
			for _, h := range steps[i].Holders {
				invite = append(invite, h.JID)
			}
		}
	}
	return out, fmt.Errorf("%w: %s", ErrUnsettled, j.Room)
}

// round looks at the room, and notes the steps that plan makes of it.
func (j *Job) round(ctx context.Context, out *Result, plan func(*bridge.Observed, policy.MUC) ([]policy.MUCStep, error)) error {
	o, err := j.Leg.Observe(ctx, j.Room)
	if err != nil {
		return fmt.Errorf("provision: look at %s: %w", j.Room, err)
	}
	if !o.Holds {
		return fmt.Errorf("%w: %s", ErrNotOwner, j.Room)
	}
	p := Propose(j.Channel, j.Topic, o.MUC, j.Options)
	steps, err := plan(&o, p.Want)
	if err != nil {
		return fmt.Errorf("provision: %s: %w", j.Room, err)
	}
	if len(out.Changes) == 0 {
		out.Left = p.Left
		out.Alarms = alarms(p.Want, o.MUC)
	}
	for i := range steps {
		out.Changes = append(out.Changes, describe(&steps[i], p.Why)...)
		if steps[i].Removes > 0 {
			out.PutOut = append(out.PutOut, putOut(&steps[i], o.MUC, p.Want)...)
		}
	}
	return nil
}

// alarms are what the plan cannot do, but for other owners, who stay.
func alarms(want policy.MUC, seen policy.MUCSeen) (out []string) {
	for _, f := range want.Fields {
		if _, there := seen.Config[f.Var]; !there {
			out = append(out, "the service has no "+fieldNamed(f))
		}
	}
	return out
}

// foresee plans all the way, on a model of the room.
func foresee(want policy.MUC, seen policy.MUCSeen, caps policy.MUCCaps, most int) (all []policy.MUCStep, err error) {
	seen = clone(seen)
	for range maxRounds {
		plan, err := policy.PlanMUC(want, seen, caps, most)
		if err != nil {
			return nil, err
		}
		n := len(all)
		for i := range plan.Steps {
			if plan.Steps[i].Again {
				break
			}
			all = append(all, plan.Steps[i])
			most -= plan.Steps[i].Removes
			model(&seen, &plan.Steps[i])
		}
		if len(all) == n {
			return all, nil
		}
	}
	return all, nil
}

func clone(m policy.MUCSeen) policy.MUCSeen {
	config := make(map[string]string, len(m.Config))
	for k, v := range m.Config {
		config[k] = v
	}
	m.Config, m.Affiliations, m.Occupants = config, slices.Clone(m.Affiliations), slices.Clone(m.Occupants)
	return m
}

// model does a step to the model of a room.
func model(m *policy.MUCSeen, s *policy.MUCStep) {
	for _, h := range s.Holders {
		m.Affiliations = slices.DeleteFunc(m.Affiliations, func(old policy.Holder) bool { return old.JID == h.JID })
		m.Affiliations = append(m.Affiliations, h)
	}
	for _, f := range s.Fields {
		m.Config[f.Var] = f.Value
		if f.Var == policy.FieldMembersOnly {
			m.Occupants = slices.DeleteFunc(m.Occupants, func(o policy.Occupant) bool { return !belongs(m.Affiliations, &o) })
		}
	}
	if s.Subject != nil {
		m.Subject = s.Subject
	}
}

// belongs reports whether somebody may stay in a members-only room.
func belongs(list []policy.Holder, o *policy.Occupant) bool {
	if o.JID == "" {
		return o.Is != policy.NoOne && o.Is != ""
	}
	return slices.ContainsFunc(list, func(h policy.Holder) bool { return h.JID == o.JID && rank(h.Is) >= rank(policy.Member) })
}

// putOut names who goes as the door shuts, with all that is wanted in place.
func putOut(s *policy.MUCStep, seen policy.MUCSeen, want policy.MUC) (out []string) {
	if !slices.ContainsFunc(s.Fields, func(f policy.Field) bool { return f.Var == policy.FieldMembersOnly }) {
		return nil
	}
	list := append(slices.Clone(seen.Affiliations), want.Affiliations...)
	for i := range seen.Occupants {
		if o := &seen.Occupants[i]; !belongs(list, o) {
			out = append(out, o.Nick)
		}
	}
	return out
}

// fieldNamed says a field in words.
func fieldNamed(f policy.Field) string {
	on := f.Value != "0"
	switch f.Var {
	case fieldPersistent:
		return "persistence (stays when empty)"
	case policy.FieldWhois:
		return "real addresses for everybody (non-anonymous)"
	case policy.FieldMembersOnly:
		return "members-only"
	case policy.FieldModerated:
		return map[bool]string{true: "moderation", false: "no moderation, so that bans hold (ejabberd)"}[on]
	case fieldPublic:
		return "not listed, as the channel is secret"
	case policy.FieldSubject:
		return "the subject for moderators only, as the channel is +t"
	case fieldName:
		return "the name " + f.Value
	}
	if slices.Contains(inviteFields, f.Var) {
		return "no invitations by members, which make members"
	}
	if slices.Contains(archiveFields, f.Var) {
		return map[bool]string{true: "an archive on the server", false: "no archive on the server"}[on]
	}
	return f.Var + "=" + f.Value
}

// describe says what a step changes.
func describe(s *policy.MUCStep, why map[string]string) (out []string) {
	for _, h := range s.Holders {
		line := fmt.Sprintf("%s: %s", h.Is, h.JID)
		if w := why[h.JID]; w != "" {
			line += " (" + w + ")"
		}
		out = append(out, line)
	}
	for _, f := range s.Fields {
		out = append(out, "configuration: "+fieldNamed(f))
	}
	if s.Subject != nil {
		out = append(out, fmt.Sprintf("subject: %q", *s.Subject))
	}
	return out
}

// invite asks in who became a member or more, has the right, and is not there: by
// their first JID, whose clients then offer to keep the room.
func (j *Job) invite(ctx context.Context, out *Result, jids []string) error {
	if len(jids) == 0 {
		return nil
	}
	o, err := j.Leg.Observe(ctx, j.Room)
	if err != nil {
		return fmt.Errorf("provision: look at %s: %w", j.Room, err)
	}
	for _, p := range j.Options.People {
		i := slices.IndexFunc(p.JIDs, func(jid string) bool { return slices.Contains(jids, jid) })
		there := slices.ContainsFunc(o.MUC.Occupants, func(o policy.Occupant) bool { return slices.Contains(p.JIDs, o.JID) })
		if i >= 0 && !there {
			out.Invited = append(out.Invited, p.JIDs[i])
		}
	}
	if len(out.Invited) == 0 {
		return nil
	}
	if err := j.Leg.Apply(ctx, j.Room, bridge.Changes{Invite: out.Invited}); err != nil {
		return fmt.Errorf("provision: invite to %s: %w", j.Room, err)
	}
	return nil
}
