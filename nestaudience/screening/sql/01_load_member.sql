-- The sheets of member, as they stream in, become rows of `member`.
INSERT INTO member
WITH parsed AS (SELECT *, clock(oldest_order_at) AS oldest_order, clock(oldest_site_at) AS oldest_site FROM member_stream)
SELECT account_token, controller_id, segment_code, oldest_order, oldest_site, consented_when_collected = '1',
       account_token IS NULL OR unreadable(oldest_order_at, oldest_order) OR unreadable(oldest_site_at, oldest_site)
       OR coalesce(consented_when_collected, '0') NOT IN ('0', '1')
FROM parsed;
