-- Writes each stanza that passes between the server and a client, in clear, one
-- a line: direction ("in" from the client, "out" to it), the client's address
-- and the stanza, its line feeds written as &#10;.
module:set_global();
local filters = require "util.filters";
local out = assert(io.open(module:get_option_string("lab_stanzas_file"), "a"));
out:setvbuf("line");

local function record(dir)
	return function(st, session)
		if st and st.name then
			out:write(dir, "\t", session.full_jid or "-", "\t", (tostring(st):gsub("\r", "&#13;"):gsub("\n", "&#10;")), "\n");
		end
		return st;
	end
end

filters.add_filter_hook(function (session)
	if session.type == "c2s" or session.type == "c2s_unauthed" then
		filters.add_filter(session, "stanzas/in", record("in"), 10000);
		filters.add_filter(session, "stanzas/out", record("out"), -10000);
	end
end);
