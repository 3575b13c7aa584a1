-- The sheets of account, as they stream in, become rows of `subject`.
INSERT INTO subject
WITH parsed AS (
    SELECT *, clock(created_at) AS created, clock(changed_at) AS changed, clock(last_active_at) AS active, whole(birth_year) AS born,
           clock(email_verified_at) AS verified, clock(email_changed_at) AS moved,
           among('controllers', controller_id) AS known_controller
    FROM account_stream
), judged AS (
    SELECT *, coalesce(status, '') NOT IN ('active', 'locked', 'closed', 'pending_deletion')
           OR coalesce(account_type, '') NOT IN ('private', 'business')
           OR coalesce(email_source, '') NOT IN ('account', 'checkout', 'newsletter', 'import')
           OR coalesce(protected, '') NOT IN ('0', '1') OR coalesce(test_or_staff, '') NOT IN ('0', '1')
           OR created IS NULL OR changed IS NULL OR unreadable(birth_year, born) OR unreadable(last_active_at, active)
           OR unreadable(email_verified_at, verified) OR unreadable(email_changed_at, moved)
           OR NOT known_controller AS bad
    FROM parsed
)
SELECT account_token, controller_id AS controller, controller_id AS home, true AS own, row_no, person_token,
       digest_google, digest_meta, coalesce(unusable_google, false), coalesce(unusable_meta, false), created AS created_at,
       coalesce(protected = '1' OR year(getvariable('now')) - born <= 18, false) AS blocking,
       flag(status IN ('closed', 'pending_deletion'), r_account_closed())
       | flag(status = 'locked', r_account_locked())
       | flag(year(getvariable('now')) - born <= 18, r_minor())
       | flag(protected = '1', r_protected())
       | flag(account_type = 'business', r_business_contact())
       | flag(CASE WHEN last_active_at IS NULL THEN created ELSE active END + to_months(getvariable('inactive_months')) <= getvariable('now'), r_inactive())
       | flag(NOT among('countries', country), r_country_out_of_scope())
       | flag(test_or_staff = '1', r_test_or_staff())
       | flag(bad, r_malformed())
       | flag(email_read = '1' AND coalesce(email_source, '') <> 'account', r_address_not_from_account())
       | flag(email_read = '1' AND CASE WHEN getvariable('require_verified')
              THEN coalesce(verified > getvariable('now'), true) OR coalesce(moved > verified, false)
              ELSE coalesce(moved > verified, moved IS NOT NULL) END, r_address_unverified()) AS mask, bad, kept_token
FROM judged;
