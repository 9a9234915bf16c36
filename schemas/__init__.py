"""What data is: events, identifiers, the consent ledger, regions, and the policy that governs them."""
