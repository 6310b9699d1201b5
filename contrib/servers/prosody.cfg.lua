-- Prosody 0.12 beside Drawbridge: what a bridge's account needs. It can be a file
-- of its own, as /etc/prosody/conf.d/drawbridge.cfg.lua; the domains are to be yours.
VirtualHost "corp.example"
  modules_enabled = { -- beside the global ones; Debian has both there already
    "smacks"; -- XEP-0198: the bot's proof of delivery for one-to-one messages
    "ping";
  }
  -- Stock mod_limits lets 10 kB/s through, about 40 messages a second, and the
  -- sender notices nothing but delay.
  unlimited_jids = { "dev@corp.example" } -- the bot's bare JID; mod_limits leaves it alone

-- Rooms: keep a history, so that what is said while the bot is away can be read again.
Component "rooms.corp.example" "muc"
  max_history_messages = 500
