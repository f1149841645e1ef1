//! Handshakes between both sides, with certificates made for the purpose.
