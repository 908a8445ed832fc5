// Linux facilities that Swift cannot import.
#pragma once
