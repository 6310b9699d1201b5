package policy

// Advice says in a few words what somebody can do about a decision that rests on a
// rule's condition; "" where nothing they do would change it.
func (p *Policy) Advice(d *Decision) string {
	if d.Basis != ByRule {
		return ""
	}
	for i := range p.rules {
		r := &p.rules[i]
		if r.ID != d.Rule {
			continue
		}
		switch {
		case r.Rule.If.Floods != 0:
			return "that was too much at once: wait a minute, then go on slowly"
		case r.Rule.If.TLS == No:
			return "connect with TLS, then come back"
		case r.Rule.If.Account == No:
			return "log in to your services account, then come back"
		case r.Rule.If.Cert == No:
			return "connect with your client certificate, then come back"
		case r.Rule.If.Encrypted == No:
			return "write encrypted"
		case r.Rule.If.Below != Clear:
			return "write with a key that is " + r.Rule.If.Below.String()
		}
	}
	return ""
}
