import Appliance
print("cressetd")
