// Package link joins services accounts of IRC to people: what is done by such an
// account counts as done by the person, as if the configuration named it. Both have to
// say so: the account is shown a code on IRC, and the person sends that code in their
// own encrypted chat, by a message that proves them. Of people in a group an admin has
// to agree. A link ends by either side's or an admin's word, when it was not used for 30
// days, when the account is not the same any more, and when the person leaves.
package link
