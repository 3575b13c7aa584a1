-- The sheets of member, as they stream in, become rows of `member`.
INSERT INTO member
SELECT account_token, controller_id, segment_code, clock(oldest_order_at), clock(oldest_site_at), consented_when_collected = '1'
FROM member_stream;
