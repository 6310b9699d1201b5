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
		session := d.Do == Join || d.Do == Speak || d.Do == Op || d.Do == Voice
		switch {
		case r.Rule.If.Floods != 0:
			return "that was too much at once: wait a minute, then go on slowly"
		case r.Rule.If.TLS == No:
			return "connect with TLS, then come back"
		case r.Rule.If.Account == No:
			return "log in to your services account, then come back"
		case r.Rule.If.Cert == No:
			return "connect with your client certificate, then come back"
		case r.Rule.If.Encrypted == No && session, r.Rule.If.Below == Sealed && session:
			return "begin an encrypted chat (OTR or OpenPGP) with the bot, from your own account"
		case r.Rule.If.Below != Clear && session:
			return "begin an encrypted chat (OTR or OpenPGP) with the bot, from your own account, by a key that is " + keyFor[r.Rule.If.Below]
		case r.Rule.If.Encrypted == No:
			return "write encrypted"
		case r.Rule.If.Below != Clear:
			return "write with a key that is " + r.Rule.If.Below.String()
		}
	}
	return ""
}

// keyFor says what a key has to be for a rung of sessions.
var keyFor = [...]string{Signed: "known to it", Verified: "verified"}
