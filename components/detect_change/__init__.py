"""detect_change: does what the champion stands on still hold, and if not, why not?"""
